"""Records of served lists, replays and audit entries in their wire form."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from features.audit import AuditEvent
from features.contracts.times import from_us, zulu
from features.served import Considered, Origin, ServedList
from serving.replay_outcome import Outcome


def plain_record(served: ServedList) -> dict[str, Any]:
    """Return a record: what was asked, what it was made from, what came of it, candidates by name."""
    columns = zip(served.item_ids, served.scores, served.sources, served.reasons, strict=True)
    return {
        "recommendation_id": served.recommendation_id,
        "user_id": served.user_id,
        "served_at": zulu(from_us(served.served_at_us)),
        "request": served.request,
        "model_version": served.model_version,
        **_origin(served.origin),
        "history_event_ids": served.history_event_ids,
        "items": [
            {"item_id": item_id, "rank": rank, "score": score, "source": source, "reason": reason}
            for rank, (item_id, score, source, reason) in enumerate(columns, 1)
        ],
        "degraded": served.degraded,
        "fallback_reason": served.fallback_reason,
        "lacking": served.lacking,
        "took_ms": {step: round(seconds * 1000, 3) for step, seconds in served.took_s.items()},
        "ordered_by": None if served.considered is None else served.considered.ordered_by,
        "candidates": [] if served.considered is None else _candidates(served.considered),
    }


def _origin(origin: Origin | None) -> dict[str, Any]:
    if origin is None:
        return dict.fromkeys(
            (
                "bundle_digest",
                "spec_hash",
                "as_of_us",
                "statistics_closed_at_us",
                "own_statistics",
                "n_items",
                "n_allowed",
            )
        )
    return {
        "bundle_digest": origin.bundle_digest,
        "spec_hash": origin.spec_hash,
        "as_of_us": origin.as_of_us,
        "statistics_closed_at_us": origin.statistics_closed_at_us,
        "own_statistics": origin.own_statistics,
        "n_items": len(origin.allowed),
        "n_allowed": int(origin.allowed.sum()),
    }


def _candidates(found: Considered) -> list[dict[str, Any]]:
    """Return all candidates, best first, with what is known of each by name."""
    rows = found.rows.tolist() if len(found.rows) else [[]] * len(found.item_ids)
    ranks, scores, unmet = found.ranks.tolist(), found.scores.tolist(), found.unmet.tolist()
    return [
        {
            "item_id": found.item_ids[at],
            "score": scores[at],
            "unmet": unmet[at],
            "ranks": {name: int(rank) for name, rank in known(found.source_names, ranks[at])},
            "features": dict(known(found.feature_names, rows[at])),
        }
        for at in np.argsort(-found.scores, kind="stable").tolist()
    ]


def known(names: Sequence[str], values: Sequence[float]) -> list[tuple[str, float]]:
    """Return names and values, without those that are NaN."""
    return [(name, value) for name, value in zip(names, values, strict=False) if value == value]  # noqa: PLR0124  # NaN


def plain_outcome(outcome: Outcome) -> dict[str, Any]:
    """Return what a replay came to."""
    return asdict(outcome)


def plain_audit(events: Sequence[AuditEvent]) -> dict[str, Any]:
    """Return entries of the audit."""
    return {"events": [asdict(event) for event in events]}
