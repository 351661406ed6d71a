"""What is known of items at a moment: counts and decayed sums, closed at the edges of time buckets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.contracts.errors import ContractError
from features.contracts.ids import MISSING, IdMap

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US

HALF_LIVES_US: Final = tuple(int(hours * HOUR_US) for hours in (1, 6, 24, 96, 336, 1440, 5760, 17520))
"""Half-lives of the decayed sums in microseconds: an hour, 6 hours, 1, 4, 14, 60, 240 and 730 days."""
HALF_LIFE_NAMES: Final = ("1h", "6h", "1d", "4d", "14d", "60d", "240d", "730d")

BUCKET_US: Final = HOUR_US // 4
"""Width of a live bucket, 15 minutes: statistics move at its edges only."""

NEVER_US: Final = np.iinfo(np.int64).min
"""In `first_at_us` and `last_at_us`: no event yet."""

_TIMED: Final = ("decayed", "first_at_us", "last_at_us")
"""Of a state, what cannot be added up as it is."""

_GONE: Final = -1000.0
"""After so many half-lives nothing is left. Where a double would only just hold the rest, `exp2` is 50 times slower."""


@dataclass(frozen=True, eq=False)
class ItemStatistics:
    """State of all items of a bundle, in its internal order, at the edge of a closed bucket.

    Attributes
    ----------
    closed_at_us
        The edge, microseconds since 1970 UTC: nothing known at or after it is in the numbers.
    count
        int64 (n_items,), events with a positive weight that are no repeats (`weight_once`).
    decayed
        float64 (n_items, len(HALF_LIVES_US)), their weights, each halved once per half-life up to the edge.
    first_at_us, last_at_us
        int64 (n_items,), edge of the first and of the latest bucket with an event of any weight; `NEVER_US` where none.
    seen, disliked
        int64 (n_items,), events of any weight, and those with a negative one.
    strong
        int64 (n_items,), events of `count` whose action shows more than a look; over `seen` it is the item's
        conversion.
    rating_count, rating_sum
        int64 and float64 (n_items,), events with a rating, and the sum of these as shares of the rating scale.
    has_clock
        False where times only order (virtual clock): hour and weekday are unknown then.
    """

    closed_at_us: int
    count: npt.NDArray[np.int64]
    decayed: npt.NDArray[np.float64]
    first_at_us: npt.NDArray[np.int64]
    last_at_us: npt.NDArray[np.int64]
    seen: npt.NDArray[np.int64]
    disliked: npt.NDArray[np.int64]
    strong: npt.NDArray[np.int64]
    rating_count: npt.NDArray[np.int64]
    rating_sum: npt.NDArray[np.float64]
    has_clock: bool = True

    @classmethod
    def empty(cls, n_items: int, closed_at_us: int, *, has_clock: bool = True) -> "ItemStatistics":
        """Return the statistics of items that no event has touched yet."""
        return StatisticsState.empty(n_items).at(closed_at_us, has_clock=has_clock)


@dataclass(frozen=True, eq=False)
class StatisticEvents:
    """Events as item statistics read them: parallel arrays by (known_at, event_id).

    Attributes
    ----------
    item
        int32 (n,), internal index.
    weight
        float32 (n,), preference weight: above 0 liking, below 0 dislike; as `weight_once` has it.
    strong
        bool (n,), whether the action shows more than a look.
    rating
        float32 (n,), the rating given as a share of the scale, NaN where none.
    known_us
        int64 (n,), ascending: when the event became known, microseconds since 1970 UTC.
    """

    item: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float32]
    strong: npt.NDArray[np.bool_]
    rating: npt.NDArray[np.float32]
    known_us: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.item)

    def __getitem__(self, rows: slice) -> "StatisticEvents":
        """Return some of the events, without copying them."""
        return StatisticEvents(*(getattr(self, field.name)[rows] for field in fields(self)))

    def closes_us(self, bucket_us: int) -> npt.NDArray[np.int64]:
        """Return the edge at which each event's bucket closes, int64 (n,), ascending.

        It is the first multiple of `bucket_us` greater than the time at which the event became known.
        """
        return self.known_us - self.known_us % bucket_us + bucket_us


def weight_once(weight: npt.NDArray[np.float32], repeat: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return the weights with which events count for their items, float32 (n,): liking only the first time.

    An event is a repeat if its user did the same action on the same item before, by (known_at, event_id). It is seen,
    and its rating or dislike counts, but its liking does not: what loyal users do again tells little of others.
    """
    return np.where(repeat, np.minimum(weight, 0), weight)


def bucket_edge(at_us: int, width_us: int = BUCKET_US) -> int:
    """Return the newest bucket edge at or before an instant, both in microseconds since 1970 UTC."""
    return at_us - at_us % width_us


def decay_factors(elapsed_us: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return how much of a decayed sum is left after some microseconds: float64 (..., len(HALF_LIVES_US))."""
    elapsed = np.asarray(elapsed_us, dtype=np.float64)
    halvings: npt.NDArray[np.float64] = -elapsed[..., None] / np.asarray(HALF_LIVES_US, dtype=np.float64)
    gone = halvings < _GONE
    np.maximum(halvings, _GONE, out=halvings)
    np.exp2(halvings, out=halvings)
    halvings[gone] = 0.0
    return halvings


@dataclass(slots=True)
class StatisticsState:
    """Running statistics of items, advanced by buckets: what a replay and the stored rows have in common.

    The arrays are those of `ItemStatistics`, except that an item's `decayed` stands at its own `last_at_us`; `at`
    brings all of them to one edge. A row of the table `item_statistics` is one item's state right after its bucket was
    added, so that a replay of events and a read of the rows give the same floats.
    """

    count: npt.NDArray[np.int64]
    decayed: npt.NDArray[np.float64]
    first_at_us: npt.NDArray[np.int64]
    last_at_us: npt.NDArray[np.int64]
    seen: npt.NDArray[np.int64]
    disliked: npt.NDArray[np.int64]
    strong: npt.NDArray[np.int64]
    rating_count: npt.NDArray[np.int64]
    rating_sum: npt.NDArray[np.float64]

    @classmethod
    def empty(cls, n_items: int) -> "StatisticsState":
        """Return the state before any event."""
        never = np.full(n_items, NEVER_US, dtype=np.int64)
        none = np.zeros(n_items, dtype=np.int64)
        return cls(
            count=none,
            decayed=np.zeros((n_items, len(HALF_LIVES_US))),
            first_at_us=never,
            last_at_us=never.copy(),
            seen=none.copy(),
            disliked=none.copy(),
            strong=none.copy(),
            rating_count=none.copy(),
            rating_sum=np.zeros(n_items),
        )

    @classmethod
    def all_of(cls, parts: Sequence["StatisticsState"]) -> "StatisticsState":
        """Return the states of several parts as one, in their order."""
        some = parts or [cls.empty(0)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in some]) for name in cls.names()})

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the arrays."""
        return tuple(field.name for field in fields(cls))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays by name; `StatisticsState(**arrays)` is the way back."""
        return {name: getattr(self, name) for name in self.names()}

    def put(self, at: npt.NDArray[np.integer], rows: "StatisticsState") -> None:
        """Take over the rows of another state as those of some items (internal indices, one a row)."""
        for name, array in self.arrays().items():
            array[at] = getattr(rows, name)

    def take(self, at: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> "StatisticsState":
        """Return the state of some items."""
        return StatisticsState(**{name: array[at] for name, array in self.arrays().items()})

    def plus(self, other: "StatisticsState") -> "StatisticsState":
        """Return the state after the events of both, whichever came first; item by item, in the same order."""
        last_at_us = np.maximum(self.last_at_us, other.last_at_us)
        decayed = np.zeros_like(self.decayed)
        for one in (self, other):
            known = one.last_at_us != NEVER_US
            decayed[known] += one.decayed[known] * decay_factors((last_at_us - one.last_at_us)[known])
        first, first_of_other = self.first_at_us, other.first_at_us
        only_one = (first == NEVER_US) | (first_of_other == NEVER_US)
        sums = {name: array + getattr(other, name) for name, array in self.arrays().items() if name not in _TIMED}
        return StatisticsState(
            **sums,
            decayed=decayed,
            first_at_us=np.where(only_one, np.maximum(first, first_of_other), np.minimum(first, first_of_other)),
            last_at_us=last_at_us,
        )

    def add(self, events: StatisticEvents, bucket_us: int) -> npt.NDArray[np.int32]:
        """Take in the events of whole buckets and return the items whose state changed, ascending.

        Parameters
        ----------
        events
            All events of one or more buckets that close later than any added before.
        bucket_us
            Width of a bucket in microseconds.

        Notes
        -----
        The sums of an item move once for each of its buckets. All items take their first bucket at once, then all
        that have one more their second, and so on: as many rounds as the busiest item has buckets, however many there
        are in all.
        """
        self._tally(events)
        item, close_us, gain = _by_item_and_bucket(events, bucket_us)
        first = np.flatnonzero(np.diff(item, prepend=-1))
        touched = item[first]
        new = self.first_at_us[touched] == NEVER_US
        self.first_at_us[touched[new]] = self.last_at_us[touched[new]] = close_us[first][new]
        before_us = np.concatenate((close_us[:1], close_us[:-1]))
        before_us[first] = self.last_at_us[touched]
        per_item = np.diff(first, append=len(item))
        nth = np.arange(len(item)) - np.repeat(first, per_item)
        rounds = np.argsort(nth, kind="stable")
        item, gain, left = item[rounds], gain[rounds, None], decay_factors((close_us - before_us)[rounds])
        start = 0
        for end in np.cumsum(np.bincount(nth)).tolist():
            at = item[start:end]
            self.decayed[at] = self.decayed[at] * left[start:end] + gain[start:end]
            start = end
        self.last_at_us[touched] = close_us[first + per_item - 1]
        return touched

    def _tally(self, events: StatisticEvents) -> None:
        """Add to all that does not fade, event by event: sums do not depend on how events are grouped."""
        liked, rated = events.weight > 0, ~np.isnan(events.rating)
        for total, chosen in (
            (self.seen, slice(None)),
            (self.count, liked),
            (self.disliked, events.weight < 0),
            (self.strong, liked & events.strong),
            (self.rating_count, rated),
        ):
            np.add.at(total, events.item[chosen], 1)
        np.add.at(self.rating_sum, events.item[rated], events.rating[rated].astype(np.float64))

    def at(self, closed_at_us: int, *, has_clock: bool = True, bucket_us: int = BUCKET_US) -> ItemStatistics:
        """Return the statistics at an edge that is not before any edge added so far.

        Parameters
        ----------
        closed_at_us
            The edge, microseconds since 1970 UTC.
        has_clock
            Handed on: False where times only order.
        bucket_us
            Width of the buckets that were added; no more than a hint that saves time.

        Raises
        ------
        ContractError
            If an edge was added that is later.
        """
        if self.last_at_us.max(initial=NEVER_US) > closed_at_us:
            raise ContractError(
                f"item statistics reach to {self.last_at_us.max()} us, beyond the edge {closed_at_us} us at which they "
                "are wanted; read both at one moment"
            )
        known = self.last_at_us != NEVER_US
        elapsed = np.where(known, closed_at_us - np.where(known, self.last_at_us, 0), 0)
        # What nobody can write, as a bundle's mapped arrays, need not be copied.
        arrays = {
            name: array.copy() if array.flags.writeable else array
            for name, array in self.arrays().items()
            if name != "decayed"
        }
        decayed = _shared_factors(elapsed, bucket_us)
        decayed *= self.decayed
        return ItemStatistics(closed_at_us=closed_at_us, decayed=decayed, has_clock=has_clock, **arrays)


@dataclass(frozen=True, slots=True)
class StatisticsRows:
    """Item statistics, each item's newest row.

    Attributes
    ----------
    item_ids
        External ids.
    state
        Their states in the same order; what fades stands as it did at the row's own edge, `last_at_us`.
    closed_at_us
        The newest bucket edge that the statistics have reached; `NEVER_US` before the first refresh.
    weights
        The action weights by which they were computed, as `ActionWeights.to_json` writes them; empty before the
        first refresh.
    """

    item_ids: Sequence[str]
    state: StatisticsState
    closed_at_us: int
    weights: Mapping[str, object]

    def aligned(self, items: IdMap) -> tuple[StatisticsState, npt.NDArray[np.bool_]]:
        """Return the states of some items in their order, without any where there is no row, and which rows are theirs.

        The mask is bool (n_rows,).
        """
        index = items.index_or_missing(self.item_ids)
        theirs = index != MISSING
        state = StatisticsState.empty(len(items))
        state.put(index[theirs], self.state.take(theirs))
        return state, theirs


def _shared_factors(elapsed_us: npt.NDArray[np.int64], step_us: int) -> npt.NDArray[np.float64]:
    """Return `decay_factors`, computed once for all items at the same number of steps where there are few of these."""
    steps, rest = np.divmod(elapsed_us, step_us)
    n_steps = int(steps.max(initial=0)) + 1
    if n_steps > len(steps) or rest.any():
        return decay_factors(elapsed_us)
    return decay_factors(np.arange(n_steps) * step_us).take(steps, axis=0)


def _by_item_and_bucket(
    events: StatisticEvents, bucket_us: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return item, closing edge and summed positive weight of each (item, bucket), by item, then edge."""
    order = np.argsort(events.item, kind="stable")
    item, close_us = events.item[order], events.closes_us(bucket_us)[order]
    changes = (np.diff(item, prepend=-1) != 0) | (np.diff(close_us, prepend=close_us[:1]) != 0)
    liking = np.maximum(events.weight[order], 0).astype(np.float64)
    gain = np.bincount(np.cumsum(changes) - 1, liking).astype(np.float64, copy=False)
    return item[changes], close_us[changes], gain
