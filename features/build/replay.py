"""Item statistics at past moments: one streaming pass over events, for training sets and backtests."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.statistics import NEVER_US, ItemStatistics, StatisticEvents, StatisticsState

EVENTS_AT_ONCE: Final = 1 << 18
"""Events that are taken in at once, give or take a bucket: some 60 MB of working memory."""


@dataclass(frozen=True, eq=False)
class Start:
    """Where a replay begins: what items had met before the first of its events.

    Attributes
    ----------
    state
        Of all items, internal order, at the edge; each replay advances a copy.
    edge_us
        A bucket edge not after any event, microseconds since 1970 UTC. Before it nothing is known.
    then
        Where it begins anew: of what was known before that edge, events are gone that its state holds. None where no
        event is missing.
    """

    state: StatisticsState
    edge_us: int = NEVER_US
    then: "Start | None" = None

    @classmethod
    def of_nothing(cls, n_items: int) -> "Start":
        """Return the start of a log that is whole."""
        return cls(StatisticsState.empty(n_items))

    def copy(self) -> StatisticsState:
        """Return the state for a replay to advance."""
        return StatisticsState(**{name: array.copy() for name, array in self.state.arrays().items()})


def replay_statistics(
    events: StatisticEvents,
    start: Start,
    edges_us: npt.NDArray[np.int64],
    *,
    bucket_us: int,
    has_clock: bool = True,
) -> Iterator[ItemStatistics]:
    """Yield the statistics at each of the edges asked for, in ascending order, in one pass over the events.

    Parameters
    ----------
    events
        The events by (known_at, event_id).
    start
        What was known before them; edges before its own have statistics without any.
    edges_us
        Ascending bucket edges, multiples of `bucket_us`, microseconds since 1970 UTC.
    bucket_us
        Width of a bucket in microseconds.
    has_clock
        Handed on: False where times only order.

    Notes
    -----
    An event known at time t is in the statistics of every edge after t: of the first multiple of `bucket_us`
    greater than t, and later.
    """
    state, then, at = start.copy(), start.then, 0
    ends = np.searchsorted(events.closes_us(bucket_us), edges_us, side="right")
    for edge, end in zip(edges_us.tolist(), ends.tolist(), strict=True):
        if edge < start.edge_us:
            yield ItemStatistics.empty(len(state.count), edge, has_clock=has_clock)
            continue
        if then is not None and then.edge_us <= edge:
            state, at = then.copy(), _known_since(events, then)
            then = None
        _add_all(state, events[at:end], bucket_us)
        at = max(at, end)
        yield state.at(edge, has_clock=has_clock, bucket_us=bucket_us)


def final_state(events: StatisticEvents, start: Start, *, bucket_us: int) -> StatisticsState:
    """Return the running state after all events; parameters as in `replay_statistics`."""
    if start.then is not None and (at := _known_since(events, start.then)) < len(events):
        start, events = start.then, events[at:]
    state = start.copy()
    _add_all(state, events, bucket_us)
    return state


def _known_since(events: StatisticEvents, start: Start) -> int:
    """Return the place of the first event that a start does not hold."""
    return int(np.searchsorted(events.known_us, start.edge_us))


def _add_all(state: StatisticsState, events: StatisticEvents, bucket_us: int) -> None:
    """Take in events of whole buckets, not too many at once; a bucket is never split."""
    closes_us = events.closes_us(bucket_us)
    start = 0
    while start < len(events):
        last = min(start + EVENTS_AT_ONCE, len(events)) - 1
        end = int(np.searchsorted(closes_us, closes_us[last], side="right"))
        state.add(events[start:end], bucket_us)
        start = end
