"""What a replay gives beside what was served: the same, or which items, scores and feature values are not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from features.served import Considered, ServedList
from serving.kinds import falling
from serving.seams import Model
from training.bundle.result import Recommendations, Trace

_NAMED: Final = 20
"""Items of each kind of difference that are named; all are counted."""
_FEATURES: Final = 100


@dataclass(frozen=True, eq=False, slots=True)
class Again:
    """A list of up to k items computed again, by which model; None where no candidate was left."""

    model: Model
    ranked: Recommendations | None
    k: int

    def item_ids(self) -> list[str]:
        """Return the list, best first."""
        return [] if self.ranked is None else self.model.items.external(self._rows())

    def scores(self) -> npt.NDArray[np.float32]:
        """Return the scores of the list, float32."""
        if self.ranked is None:
            return np.empty(0, np.float32)
        scores: npt.NDArray[np.float32] = self.ranked.scores[0, : len(self._rows())]
        return scores if len(scores) >= self.k else np.array(falling(scores.tolist()), dtype=np.float32)

    def trace(self) -> Trace | None:
        """Return how it came about, where candidates were ordered."""
        return self.ranked.traces[0] if self.ranked is not None and self.ranked.traces else None

    def _rows(self) -> npt.NDArray[np.int32]:
        assert self.ranked is not None  # noqa: S101  # asked for by the two above
        rows: npt.NDArray[np.int32] = self.ranked.items[0][self.ranked.items[0] != MISSING]
        return rows


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay came to.

    Attributes
    ----------
    same
        Whether items, order, scores and, where both are known, candidates and feature rows are the same, bit for bit.
    items, order, scores, candidates, feature_rows
        Each whether it is the same, and what is not.
    item_ids
        The list as it comes out now.
    notes
        What is known not to be as it was.
    """

    recommendation_id: str
    same: bool
    items: dict[str, Any]
    order: dict[str, Any]
    scores: dict[str, Any]
    candidates: dict[str, Any] | None
    feature_rows: dict[str, Any] | None
    item_ids: list[str]
    notes: list[str]


def compare(served: ServedList, again: Again, notes: list[str]) -> Outcome:
    """Return how a list that was computed again differs from what was served."""
    now, then, trace = again.item_ids(), list(served.item_ids), again.trace()
    candidates = rows = None
    if served.considered is not None and trace is not None:
        found = again.model.items.external(trace.candidates)
        candidates = _sets(list(served.considered.item_ids), found)
        rows = _rows(served.considered, found, trace, again.model.spec.names)
    items, scores = _sets(then, now), _scores(then, served.scores, now, again.scores())
    order = {"same": then == now}
    parts = [items, order, scores, *(part for part in (candidates, rows) if part is not None)]
    same = all(part["same"] for part in parts)
    return Outcome(served.recommendation_id, same, items, order, scores, candidates, rows, now, notes)


def _sets(then: Sequence[str], now: Sequence[str]) -> dict[str, Any]:
    """Return which items went and which came."""
    gone, came = sorted(set(then) - set(now)), sorted(set(now) - set(then))
    return {
        "same": not gone and not came,
        "missing": gone[:_NAMED],
        "added": came[:_NAMED],
        "missing_count": len(gone),
        "added_count": len(came),
    }


def _scores(
    then: Sequence[str], scores_then: Sequence[float], now: Sequence[str], scores_now: npt.NDArray[np.float32]
) -> dict[str, Any]:
    """Return which items of both lists have another score."""
    before = dict(zip(then, np.asarray(scores_then, np.float32), strict=True))
    after = dict(zip(now, scores_now, strict=True))
    others = [
        {"item_id": item_id, "served": float(score), "replayed": float(after[item_id])}
        for item_id, score in before.items()
        if item_id in after and score.tobytes() != after[item_id].tobytes()
    ]
    return {"same": not others, "different": others[:_NAMED], "different_count": len(others)}


def _rows(then: Considered, item_ids: Sequence[str], now: Trace, names: Sequence[str]) -> dict[str, Any]:
    """Return by feature how many values of candidates of both are others, and the first of them."""
    if list(then.feature_names) != list(names):
        return {
            "same": False,
            "compared": 0,
            "different_count": 0,
            "features": [],
            "note": "the features are others now",
        }
    place = {item_id: row for row, item_id in enumerate(item_ids)}
    both = [item_id for item_id in then.item_ids if item_id in place] if len(now.rows) and len(then.rows) else []
    before = then.rows[[row for row, item_id in enumerate(then.item_ids) if item_id in place]] if both else _NONE
    after = now.rows[[place[item_id] for item_id in both]] if both else _NONE
    differs = before.view(np.uint32) != after.view(np.uint32)
    differs &= ~(np.isnan(before) & np.isnan(after))
    return {
        "same": not differs.any() and (len(now.rows) > 0) == (len(then.rows) > 0),
        "compared": len(both),
        "different_count": int(differs.sum()),
        "features": [
            _feature(names[column], both, before[:, column], after[:, column], differs[:, column])
            for column in np.flatnonzero(differs.any(axis=0)).tolist()[:_FEATURES]
        ],
    }


_NONE: Final = np.empty((0, 0), np.float32)


def _feature(
    name: str,
    item_ids: Sequence[str],
    before: npt.NDArray[np.float32],
    after: npt.NDArray[np.float32],
    differs: npt.NDArray[np.bool_],
) -> dict[str, Any]:
    first = int(np.flatnonzero(differs)[0])
    return {
        "name": name,
        "different_count": int(differs.sum()),
        "example": {"item_id": item_ids[first], "served": float(before[first]), "replayed": float(after[first])},
    }
