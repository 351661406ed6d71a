from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from features.contracts.ids import IdMap
from features.contracts.statistics import DAY_US
from tests.support.synthetic import START_US, make_interactions, with_stray
from training.data import Interactions
from training.frames import load_interactions


def test_actions_and_ratings_of_a_file_reach_the_statistics_in_the_order_known(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "user_id": ["u"] * 4,
            "item_id": ["a", "b", "c", "d"],
            "action": ["view", "rating", "dislike", "cart"],
            "value": [1.0, 8.0, None, None],
            "occurred_at": pd.to_datetime([1, 2, 3, 4], unit="s"),
            "known_at": pd.to_datetime([9, 8, 7, 6], unit="s"),
        }
    )
    frame.to_parquet(tmp_path / "events.parquet")
    interactions = load_interactions(tmp_path / "events.parquet").interactions
    events = interactions.statistic_events()
    assert interactions.items.external(events.item) == ["d", "c", "b", "a"]
    assert (np.diff(events.known_us) > 0).all()
    assert events.strong.tolist() == [True, False, True, False]
    np.testing.assert_array_equal(events.rating, np.array([np.nan, np.nan, 0.8, np.nan], np.float32))


def test_columns_that_are_not_given_are_filled_and_go_along_with_their_rows() -> None:
    given = make_interactions()
    given = replace(given, repeat=np.arange(len(given)) % 2 == 1)
    rows = np.array([3, 5, 8])
    some = given.take(rows)
    np.testing.assert_array_equal(some.strong, given.strong[rows])
    np.testing.assert_array_equal(some.rating, given.rating[rows])
    assert some.repeat.tolist() == [True, True, False]
    one, at_us = np.zeros(2, np.int32), np.zeros(2, np.int64)
    bare = Interactions(IdMap(["u"]), IdMap(["i"]), one, one, np.ones(2, np.float32), at_us, at_us)
    for filled in (bare, replace(bare, has_clock=False), bare.take(np.array([0, 1]))):
        assert filled.strong.tolist() == filled.repeat.tolist() == [False, False]
        assert np.isnan(filled.rating).tolist() == [True, True]


def test_only_a_hundredth_that_takes_up_most_of_the_span_is_no_beginning() -> None:
    dense = make_interactions()
    begun = int(dense.at_us[0])
    assert dense.begin_us == begun
    assert with_stray(dense, begun - 30 * DAY_US).begin_us == begun - 30 * DAY_US, "less than half of the span"
    assert START_US <= with_stray(dense).begin_us < START_US + DAY_US
    assert with_stray(dense).on_backtest_clock().bucket_us < dense.on_backtest_clock().bucket_us * 1.01
    few = with_stray(dense.take(np.arange(50)))
    assert few.begin_us == 0, "of so few none is one in a hundred"
    assert dense.take(np.arange(0)).begin_us == 0


def test_items_of_some_rows_are_in_their_order_whatever_was_met_in_others() -> None:
    user, at_us = np.zeros(5, np.int32), np.arange(5)
    item = np.array([3, 1, 0, 1, 3], np.int32)
    known = Interactions(IdMap(["u"]), IdMap(list("abcd")), user, item, np.ones(5, np.float32), at_us, at_us)
    some = known.take(np.array([2, 3, 4])).with_items_of_rows()
    assert some.items.external(np.arange(3)) == ["a", "b", "d"]
    assert some.items.external(some.item) == ["a", "b", "d"]
    first = known.with_items_of_rows()
    assert first.items.external(np.arange(3)) == ["d", "b", "a"]
    assert first.items.external(first.item) == ["d", "b", "a", "b", "d"]


def test_liking_counts_for_an_item_only_the_first_time_that_a_user_shows_it() -> None:
    one, at_us = np.zeros(4, np.int32), np.arange(4)
    weight, repeat = np.array([1, 1, 0, -1], np.float32), np.array([False, True, True, True])
    interactions = Interactions(IdMap(["u"]), IdMap(["i"]), one, one, weight, at_us, at_us, repeat=repeat)
    assert interactions.statistic_events().weight.tolist() == [1, 0, 0, -1]
    assert interactions.weight.tolist() == [1, 1, 0, -1], "the user's own history keeps all of it"
