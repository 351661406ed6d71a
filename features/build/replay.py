"""Item statistics at past moments: one streaming pass over events, for training sets and backtests."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from features.contracts.statistics import ItemStatistics, StatisticsState


def replay_statistics(
    item: npt.NDArray[np.int32],
    weight: npt.NDArray[np.float32],
    known_us: npt.NDArray[np.int64],
    n_items: int,
    edges_us: npt.NDArray[np.int64],
    *,
    bucket_us: int,
    has_clock: bool = True,
) -> Iterator[ItemStatistics]:
    """Yield the statistics at each of the edges asked for, in ascending order, in one pass over the events.

    Parameters
    ----------
    item, weight, known_us
        The events by (known_at, event_id): internal index, preference weight, microseconds since 1970 UTC.
    edges_us
        Ascending bucket edges, multiples of `bucket_us`.
    bucket_us
        Width of a bucket in microseconds.

    Notes
    -----
    An event known at time t is in the statistics of every edge after t: of the first multiple of `bucket_us`
    greater than t, and later.
    """
    state = StatisticsState.empty(n_items)
    closes_us = known_us - known_us % bucket_us + bucket_us
    at = 0
    for edge in edges_us.tolist():
        end = int(np.searchsorted(closes_us, edge, side="right"))
        while at < end:
            close = int(closes_us[at])
            until = int(np.searchsorted(closes_us, close, side="right"))
            state.add(close, item[at:until], weight[at:until])
            at = until
        yield state.at(edge, has_clock=has_clock)


def final_state(
    item: npt.NDArray[np.int32],
    weight: npt.NDArray[np.float32],
    known_us: npt.NDArray[np.int64],
    n_items: int,
    *,
    bucket_us: int,
) -> StatisticsState:
    """Return the running state after all events; parameters as in `replay_statistics`."""
    state = StatisticsState.empty(n_items)
    closes_us = known_us - known_us % bucket_us + bucket_us
    starts = np.flatnonzero(np.diff(closes_us, prepend=np.int64(-1)))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(closes_us)], strict=True):
        state.add(int(closes_us[start]), item[start:end], weight[start:end])
    return state
