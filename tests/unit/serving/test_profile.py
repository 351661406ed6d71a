"""Merging a stored history with the acts that a request brings along."""

import math

import numpy as np

from features.contracts.profiles import UserHistory
from serving.asks import InlineEvent
from serving.profile import merge_history, moment_of

NOW = 1_000_000
STORED = UserHistory("u", ["e2", "e1"], ["b", "a"], ["like", "view"], [1.0, math.nan], [500, 400], ["a", "b", "old"])


def test_without_inline_history_nothing_changes() -> None:
    assert merge_history(STORED, [], NOW, 500) is STORED


def test_untimed_acts_are_newest_and_the_last_of_them_comes_first() -> None:
    merged = merge_history(STORED, [InlineEvent("x"), InlineEvent("y", "like", 2.0)], NOW, 500)
    assert merged.item_ids == ["y", "x", "b", "a"]
    assert merged.at_us == [NOW - 1, NOW - 1, 500, 400]
    assert merged.actions == ["like", "view", "like", "view"]
    assert np.isnan(merged.values[1])
    assert set(merged.seen_item_ids) == {"a", "b", "old", "x", "y"}


def test_timed_acts_take_their_place_and_future_ones_happened_just_now() -> None:
    merged = merge_history(STORED, [InlineEvent("x", at_us=450), InlineEvent("y", at_us=NOW + 5)], NOW, 500)
    assert merged.item_ids == ["y", "b", "x", "a"]
    assert max(merged.at_us) < NOW


def test_the_limit_cuts_events_but_never_what_was_seen() -> None:
    merged = merge_history(STORED, [InlineEvent("x")], NOW, 2)
    assert merged.item_ids == ["x", "b"]
    assert set(merged.seen_item_ids) == {"a", "b", "old", "x"}


def test_the_moment_is_after_all_that_is_known() -> None:
    assert moment_of(STORED, closed_at_us=100, now_us=NOW) == NOW
    assert moment_of(STORED, closed_at_us=100, now_us=300) == 501
    assert moment_of(UserHistory("u"), closed_at_us=NOW + 9, now_us=NOW) == NOW + 9
