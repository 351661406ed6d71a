"""Live statistics equal a replay of the events, and give way to the bundle's own where they are older."""

import numpy as np

from features.contracts.ids import IdMap
from features.contracts.statistics import BUCKET_US, NEVER_US, ItemStatistics, StatisticsState
from features.store import StatisticsRows
from serving.live_statistics import EVER_US, LiveStatistics
from tests.support.statistic_events import liked

IDS = IdMap(["a", "b", "c"])


def rows_of(state: StatisticsState, ids: list[str], closed_at_us: int) -> StatisticsRows:
    """Return the table's rows for a state whose items stand in the order of `ids`."""
    return StatisticsRows(ids, state, closed_at_us, weights={})


def test_rows_in_any_order_give_the_floats_of_a_replay() -> None:
    replayed, stored = StatisticsState.empty(3), StatisticsState.empty(3)
    for edge, items in ((1, [0, 0, 1]), (2, [1]), (5, [0])):
        replayed.add(liked(items, edge * BUCKET_US), BUCKET_US)
        stored.add(liked(2 - np.array(items), edge * BUCKET_US), BUCKET_US)
    live = LiveStatistics(IDS, ItemStatistics.empty(3, 0))

    assert live.is_news(rows_of(stored, ["c", "b", "a"], 7 * BUCKET_US))
    live.apply(rows_of(stored, ["c", "b", "stranger"], 7 * BUCKET_US))
    live.apply(rows_of(stored, ["c", "b", "a"], 7 * BUCKET_US))

    wanted = replayed.at(7 * BUCKET_US)
    assert live.current.closed_at_us == 7 * BUCKET_US
    for name in StatisticsState.names():
        np.testing.assert_array_equal(getattr(live.current, name), getattr(wanted, name), err_msg=name)
    assert not live.is_news(rows_of(stored, [], 7 * BUCKET_US))


def test_the_bundles_own_copy_stays_while_it_is_newer() -> None:
    own = ItemStatistics.empty(3, 10 * BUCKET_US)
    live = LiveStatistics(IDS, own)
    assert (live.loaded, live.closed_at_us) == (False, EVER_US)
    live.apply(rows_of(StatisticsState.empty(3), ["a", "b", "c"], 9 * BUCKET_US))
    assert live.current is own
    live.apply(rows_of(StatisticsState.empty(0), [], NEVER_US))
    assert live.current is own
    assert live.loaded


def test_a_virtual_clock_takes_no_live_statistics() -> None:
    own = ItemStatistics.empty(3, 0, has_clock=False)
    live = LiveStatistics(IDS, own)
    live.apply(rows_of(StatisticsState.empty(3), ["a", "b", "c"], BUCKET_US))
    assert live.current is own
