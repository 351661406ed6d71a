"""Live statistics equal a replay of the events, and give way to the bundle's own where they are older."""

import numpy as np

from features.contracts.ids import IdMap
from features.contracts.statistics import BUCKET_US, NEVER_US, ItemStatistics, StatisticsRows, StatisticsState
from features.contracts.weights import ActionWeights
from serving.live_statistics import EVER_US, LiveStatistics
from tests.support.statistic_events import liked

IDS = IdMap(["a", "b", "c"])
WEIGHTS = ActionWeights()


def rows_of(
    state: StatisticsState, ids: list[str], closed_at_us: int, weights: ActionWeights | None = WEIGHTS
) -> StatisticsRows:
    """Return the table's rows for a state whose items stand in the order of `ids`."""
    return StatisticsRows(ids, state, closed_at_us, {} if weights is None else weights.to_json())


def test_rows_in_any_order_give_the_floats_of_a_replay() -> None:
    replayed, stored = StatisticsState.empty(3), StatisticsState.empty(3)
    for edge, items in ((1, [0, 0, 1]), (2, [1]), (5, [0])):
        replayed.add(liked(items, edge * BUCKET_US), BUCKET_US)
        stored.add(liked(2 - np.array(items), edge * BUCKET_US), BUCKET_US)
    live = LiveStatistics(IDS, ItemStatistics.empty(3, 0), WEIGHTS)

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
    live = LiveStatistics(IDS, own, WEIGHTS)
    assert (live.loaded, live.closed_at_us) == (False, EVER_US)
    live.apply(rows_of(StatisticsState.empty(3), ["a", "b", "c"], 9 * BUCKET_US))
    assert live.current is own
    live.apply(rows_of(StatisticsState.empty(0), [], NEVER_US, None))
    assert live.current is own
    assert live.loaded


def test_statistics_that_take_in_rows_beside_others_leave_these_as_they_are() -> None:
    state, own = StatisticsState.empty(2), ItemStatistics.empty(3, 0)
    state.add(liked([0, 1], BUCKET_US), BUCKET_US)
    rows = rows_of(state, ["a", "stranger"], BUCKET_US)
    live, other = (LiveStatistics(IDS, own, WEIGHTS) for _ in range(2))
    other.apply(rows)

    taken = live.with_rows(rows)

    assert (live.loaded, live.closed_at_us) == (False, EVER_US)
    assert live.current is own
    assert (taken.loaded, taken.closed_at_us) == (other.loaded, other.closed_at_us) == (True, BUCKET_US)
    np.testing.assert_array_equal(taken.current.decayed, other.current.decayed)
    more = IdMap([*"abc", "stranger"])
    assert live.grown(more, ItemStatistics.empty(4, 0)).current.count.sum() == 0
    assert taken.grown(more, ItemStatistics.empty(4, 0)).current.count.tolist() == [1, 0, 0, 1]


def test_a_virtual_clock_takes_no_live_statistics() -> None:
    own = ItemStatistics.empty(3, 0, has_clock=False)
    live = LiveStatistics(IDS, own, WEIGHTS)
    live.apply(rows_of(StatisticsState.empty(3), ["a", "b", "c"], BUCKET_US))
    assert live.current is own


def test_rows_of_other_weights_give_way_to_the_bundles_own_until_they_are_of_its_weights_again() -> None:
    own, state = ItemStatistics.empty(3, 0), StatisticsState.empty(3)
    live = LiveStatistics(IDS, own, WEIGHTS)
    ours, others = (
        rows_of(state, ["a", "b", "c"], BUCKET_US, weights) for weights in (WEIGHTS, ActionWeights(rating_scale=10.0))
    )
    live.apply(ours)
    assert (live.loaded, live.current.closed_at_us) == (True, BUCKET_US)

    assert live.is_news(others)
    live.apply(others)
    assert (live.loaded, live.other_weights) == (False, True)
    assert live.current is own
    later = rows_of(state, [], 2 * BUCKET_US, ActionWeights(rating_scale=10.0))
    assert not live.is_news(later), "what is of no use is not read"

    assert live.is_news(ours)
    live.apply(ours)
    assert (live.loaded, live.other_weights, live.current.closed_at_us) == (True, False, BUCKET_US)


def test_grown_statistics_are_those_that_a_fresh_read_gives() -> None:
    state, grown_ids = StatisticsState.empty(5), IdMap(["a", "b", "c", "new", "silent"])
    state.add(liked([0, 3, 3, 4], BUCKET_US), BUCKET_US)
    state.add(liked([1, 3], 2 * BUCKET_US), BUCKET_US)
    rows = rows_of(state, ["a", "b", "c", "new", "stranger"], 4 * BUCKET_US)
    live, own = LiveStatistics(IDS, ItemStatistics.empty(3, 0), WEIGHTS), ItemStatistics.empty(5, 0)
    assert live.grown(grown_ids, own).current is own, "nothing was read yet"
    live.apply(rows)

    grown, fresh = live.grown(grown_ids, own), LiveStatistics(grown_ids, own, WEIGHTS)
    fresh.apply(rows)

    assert (grown.loaded, grown.closed_at_us) == (fresh.loaded, fresh.closed_at_us)
    for name in StatisticsState.names():
        np.testing.assert_array_equal(getattr(grown.current, name), getattr(fresh.current, name), err_msg=name)
    assert not grown.is_news(rows_of(state, [], 4 * BUCKET_US))
    twice = live.grown(IdMap([*"abc", "new"]), ItemStatistics.empty(4, 0)).grown(grown_ids, own)
    np.testing.assert_array_equal(twice.current.decayed, fresh.current.decayed)
