"""What a check of the serving path came to: parity, drift, and one word for both."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal

import numpy as np

from features.served_sample import Sample
from training.bundle.bundle import Bundle
from training.skew.drift import Drift, drift_of
from training.skew.parity import Compared, FeatureParity, by_feature, to_json
from training.skew.remake import OF_STATISTICS, Outcome, is_retrieved
from training.skew.rules import DriftRules

Status = Literal["ok", "skewed", "drifted", "unknown"]

_NAMED: Final = 5
"""Features and lists that a sentence names; all are counted."""
_PROVEN: Final = 0.5
"""Share of an edge's lists that come out the same from which the edge's statistics are known to be what they were."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Served lists against the training path.

    Attributes
    ----------
    lists, rows
        Compared lists, and candidates of theirs.
    different
        Lists whose candidates or rows are not the same; their ids, some of them.
    different_rows
        Rows with at least one value that is not the same.
    missing, added
        Candidates that only serving, or only training, has.
    features
        By the order of the spec.
    left_out
        Lists that could not be made again, by reason: neither parity nor difference.
    """

    lists: int
    rows: int
    different: int
    different_ids: tuple[str, ...]
    different_rows: int
    missing: int
    added: int
    features: tuple[FeatureParity, ...]
    left_out: dict[str, int]

    def worst(self) -> list[FeatureParity]:
        """Return the features that are not the same, the most often first."""
        return sorted((one for one in self.features if one.different), key=lambda one: -one.different)


@dataclass(frozen=True, slots=True)
class Result:
    """The whole finding about one version.

    Attributes
    ----------
    recorded, of_version, ranked
        Lists recorded since then, made by the version, ordered by its ranker.
    behind_s
        Median age of the item statistics that lists were served by, seconds; None without lists.
    rows_gone
        Events that were erased or have expired: with some gone, statistics are not replayed but read as stored.
    """

    version: str
    digest: str
    checked_at: datetime
    since: datetime
    recorded: int
    of_version: int
    ranked: int
    taken: int
    behind_s: float | None
    rows_gone: int
    parity: Parity
    drift: Drift
    rules: DriftRules

    @property
    def status(self) -> Status:
        """Return the finding in one word; skew goes before drift."""
        if self.parity.different:
            return "skewed"
        if self.drift.drifted(self.rules):
            return "drifted"
        return "ok" if self.parity.lists else "unknown"

    @property
    def reasons(self) -> list[str]:
        """Return what the status comes from, in sentences."""
        return [*_parity_words(self), *_drift_words(self)]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        parity, drift = self.parity, self.drift
        return {
            "status": self.status,
            "reasons": self.reasons,
            "version": self.version,
            "digest": self.digest,
            "checked_at": self.checked_at.isoformat(timespec="seconds"),
            "since": self.since.isoformat(timespec="seconds"),
            "lists": {
                "recorded": self.recorded,
                "of_version": self.of_version,
                "ranked": self.ranked,
                "taken": self.taken,
                "compared": parity.lists,
                "different": parity.different,
                "left_out": parity.left_out,
            },
            "statistics_behind_s": self.behind_s,
            "events_gone": self.rows_gone,
            "parity": {
                "rows": parity.rows,
                "different_rows": parity.different_rows,
                "candidates_missing": parity.missing,
                "candidates_added": parity.added,
                "different_lists": list(parity.different_ids),
                "features": [to_json(one) for one in parity.features],
            },
            "drift": {
                "lists": drift.lists,
                "rows": drift.rows,
                "unknown": drift.unknown,
                "columns": [asdict(shift) for shift in drift.shifts],
            },
            "rules": asdict(self.rules),
        }


def result_of(
    bundle: Bundle,
    version: str,
    sample: Sample,
    outcomes: Iterable[Outcome],
    *,
    since: datetime,
    checked_at: datetime,
    rules: DriftRules,
) -> Result:
    """Return what some outcomes, of the lists of a sample, come to."""
    parity = parity_of(list(outcomes), bundle.spec.names)
    own = [one for one in sample.lists if is_retrieved(one) and one.considered is not None]
    rows = [one.considered.rows[~one.considered.unmet] for one in own if one.considered is not None]
    served = np.concatenate([np.empty((0, len(bundle.spec.names)), np.float32), *rows])
    ages = [one.origin.as_of_us - one.origin.statistics_closed_at_us for one in sample.lists if one.origin is not None]
    return Result(
        version=version,
        digest=bundle.digest,
        checked_at=checked_at,
        since=since,
        recorded=sample.recorded,
        of_version=sample.of_bundle,
        ranked=sample.ranked,
        taken=len(sample.lists),
        behind_s=float(np.median(ages)) / 1e6 if ages else None,
        rows_gone=sample.rows_gone,
        parity=parity,
        drift=drift_of(bundle, served, len(own), rules),
        rules=rules,
    )


def parity_of(outcomes: Sequence[Outcome], names: Sequence[str]) -> Parity:
    """Return the parity of some lists: what comes out the same counts, what does not is different or excused."""
    kept: list[Compared] = []
    left_out: Counter[str] = Counter()
    proven = _proven_edges(outcomes)
    for outcome in outcomes:
        excuses = outcome.excuses - OF_STATISTICS if _edge(outcome) in proven else outcome.excuses
        if outcome.compared is None or (excuses and not outcome.compared.same):
            left_out[min(excuses)] += 1
        else:
            kept.append(outcome.compared)
    different = [one for one in kept if not one.same]
    return Parity(
        lists=len(kept),
        rows=sum(len(one.item_ids) for one in kept),
        different=len(different),
        different_ids=tuple(one.recommendation_id for one in different[:_NAMED]),
        different_rows=sum(int(one.differs.any(axis=1).sum()) for one in different),
        missing=sum(len(one.missing) for one in different),
        added=sum(len(one.added) for one in different),
        features=tuple(by_feature(kept, names)),
        left_out=dict(left_out.most_common()),
    )


def _proven_edges(outcomes: Sequence[Outcome]) -> set[int]:
    """Return the bucket edges of which at least half of the compared lists come out the same."""
    of_edge: dict[int, list[bool]] = {}
    for outcome in outcomes:
        if outcome.compared is not None:
            of_edge.setdefault(_edge(outcome), []).append(outcome.compared.same)
    return {edge for edge, same in of_edge.items() if np.mean(same) >= _PROVEN}


def _edge(outcome: Outcome) -> int:
    origin = outcome.served.origin
    assert origin is not None  # noqa: S101  # only such lists are made again
    return origin.statistics_closed_at_us


def _parity_words(result: Result) -> list[str]:
    parity = result.parity
    words = []
    if parity.different:
        worst = ", ".join(f"{one.name} ({one.different} of {one.rows})" for one in parity.worst()[:_NAMED])
        others = f"; {parity.missing} candidates only served, {parity.added} only made again"
        words.append(
            f"{parity.different} of {parity.lists} lists are not what the training path makes of the same events: "
            f"{worst or 'no feature of common candidates'}{others if parity.missing or parity.added else ''}; such as "
            f"list {parity.different_ids[0]}"
        )
    elif parity.lists:
        words.append(f"{parity.rows} rows of {parity.lists} lists are the same to the bit")
    else:
        words.append(f"no list could be compared: {result.ranked} with feature rows of {result.recorded} recorded")
    if result.rows_gone and result.taken:
        words.append(f"item statistics were read as stored: {result.rows_gone} events were erased or have expired")
    words += [f"{count} lists left out: {reason}" for reason, count in parity.left_out.items()]
    return words


def _drift_words(result: Result) -> list[str]:
    drift, rules = result.drift, result.rules
    if drift.unknown is not None:
        return [f"drift is unknown: {drift.unknown}"]
    large, moderate = drift.beyond(rules.large, rules), drift.beyond(rules.moderate, rules)
    if not moderate:
        return [f"no column that counts has moved by a PSI of {rules.moderate} or more"]
    named = ", ".join(f"{shift.name} {shift.psi:.2f}" for shift in moderate[:_NAMED])
    return [f"{len(large)} columns have moved much (PSI >= {rules.large}), {len(moderate)} somewhat: {named}"]
