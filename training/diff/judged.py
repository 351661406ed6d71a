"""Which of two versions is better: on the same users of a window that neither was fitted on, if there is one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from training.catalogue import published_after
from training.diff.sides import Lists, Side, Together
from training.evaluation.judged import Judged
from training.evaluation.methods import K
from training.evaluation.popularity import ItemPopularity
from training.evaluation.resampling import FEWEST_USERS, estimate_all
from training.evaluation.segments import by_history_length, light_and_heavy
from training.frames import Loaded
from training.gating.verdicts import Sampling
from training.judging import judged_after, read_by
from training.lists import recommend_all
from training.metrics import Estimate, Floats, hits, ndcg, per_user

MOST_USERS: Final = 2_000
_RESAMPLES: Final = Sampling().resamples
"""As the gate's: of the same users both then tell the same interval."""
_PARTS: Final = ("first", "second", "difference")


@dataclass(frozen=True, slots=True)
class Compared:
    """A metric, or NDCG@10 of some users or labels, of both versions; the difference is second minus first."""

    name: str
    users: int
    first: Estimate
    second: Estimate
    difference: Estimate

    @property
    def verdict(self) -> str:
        """Return what can be said of the second version: the interval of the paired difference decides."""
        if self.users < FEWEST_USERS:
            return "too few users"
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "not distinguishable"


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the window says: `metrics` of all users and NDCG@10 by segment; `why_not` where nothing could be judged."""

    users: int
    window: str
    metrics: list[Compared]
    segments: dict[str, list[Compared]]
    why_not: str = ""


def judge(sides: tuple[Side, Side], together: Together, loaded: Loaded, items_file: Path, seed: int) -> Verdicts:
    """Return how both versions do on what came after the training data of either.

    Parameters
    ----------
    sides, together
        The two versions, and their items.
    loaded
        Each side reads histories by its own weights; what was liked is told by the data's, for both alike.
    items_file
        The catalogue: what came into it after both were fitted is shown by neither, as in the gate.
    seed
        Of the users drawn where there are more than `MOST_USERS`, and of the intervals.
    """
    interactions = loaded.interactions
    start_us, newest_us = max(side.bundle.manifest.trained_until_us for side in sides), int(interactions.at_us[-1])
    window = f"{minute(start_us)} to {minute(newest_us)} UTC"
    if start_us > newest_us:
        later = next(side for side in sides if side.bundle.manifest.trained_until_us == start_us)
        why = (
            f"{later.name} was fitted on data up to {minute(start_us)} UTC, and the snapshot ends at "
            f"{minute(newest_us)} UTC: no window is left that neither version was fitted on. Run again when there is a "
            "newer one."
        )
        return Verdicts(0, window, [], {}, why)
    include_seen = not sides[1].bundle.excludes_seen
    judged = _some(judged_after(interactions, start_us, together.ids, include_seen=include_seen), seed)
    if not len(judged):
        return Verdicts(0, window, [], {}, f"Nobody with a history liked anything new in {window}.")
    lists = []
    for number, side in enumerate(sides):
        read, items = read_by(loaded, side.bundle.parts.weights), side.bundle.items
        came = published_after(items_file, items, start_us)
        everyone = judged_after(interactions, start_us, items, include_seen=include_seen, read=read, later=came)
        own = _some(everyone, seed)
        found = recommend_all(side.bundle.recommender, own.history, own.users, own.as_of_us, own.options(K))
        lists.append(together.lists(found, number))
    first, second = (per_user(found, judged.labels) for found in lists)
    metrics = [_compared(name, first[name], second[name], seed) for name in first]
    return Verdicts(len(judged), window, metrics, _segments(judged, (lists[0], lists[1]), seed))


def _some(judged: Judged, seed: int) -> Judged:
    """Return up to `MOST_USERS` of them: with the items of any version the same users, in the same order."""
    some = np.sort(np.random.default_rng(seed).permutation(len(judged))[:MOST_USERS])
    labels = [judged.labels[user] for user in some.tolist()]
    return replace(judged, users=judged.users[some], as_of_us=judged.as_of_us[some], labels=labels)


def _compared(name: str, first: Floats, second: Floats, seed: int) -> Compared:
    found = estimate_all(_columns(first, second), seed, _RESAMPLES)
    return Compared(name, int((~np.isnan(first)).sum()), *(found[part] for part in _PARTS))


def _columns(first: Floats, second: Floats) -> Mapping[str, Floats]:
    return dict(zip(_PARTS, (first, second, second - first), strict=True))


def _segments(judged: Judged, lists: tuple[Lists, Lists], seed: int) -> dict[str, list[Compared]]:
    """Return NDCG@10 by length of history, by light and heavy users, and by head and tail items."""
    columns = _columns(*_both(lists, judged.labels))
    found = {}
    for name, unit, divide in (("length of history", " events", by_history_length), ("users", "", light_and_heavy)):
        parts = divide(columns, judged.history_length, seed)
        found[name] = [
            Compared(f"{part.name}{unit}", part.users, *(part.methods[column]["ndcg@10"] for column in _PARTS))
            for part in parts
        ]
    head = ItemPopularity.of(judged.history).head
    found["liked items"] = [
        _compared(name, *_both(lists, _restricted(judged.labels, wanted)), seed)
        for name, wanted in (("head: half of the interactions", head), ("tail: all others", ~head))
    ]
    return found


def _both(lists: tuple[Lists, Lists], labels: list[npt.NDArray[np.int32]]) -> tuple[Floats, Floats]:
    return _ndcg(lists[0], labels), _ndcg(lists[1], labels)


def _ndcg(lists: Lists, labels: list[npt.NDArray[np.int32]]) -> Floats:
    """Return NDCG@10 of each user, NaN where nothing is liked."""
    count = np.array([len(entry) for entry in labels], dtype=np.int64)
    return np.where(count > 0, ndcg(hits(lists, labels), np.maximum(count, 1), 10), np.nan)


def _restricted(labels: list[npt.NDArray[np.int32]], wanted: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.int32]]:
    known = [entry[entry != MISSING] for entry in labels]
    return [entry[wanted[entry]] for entry in known]


def minute(at_us: int) -> str:
    """Return a time, microseconds since 1970 UTC, to the minute."""
    return f"{datetime.fromtimestamp(at_us / 1e6, tz=UTC):%Y-%m-%d %H:%M}"
