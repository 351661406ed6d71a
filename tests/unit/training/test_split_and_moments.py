from dataclasses import replace

import numpy as np
import pytest

from features.contracts.errors import ContractError
from features.contracts.ids import IdMap
from features.contracts.statistics import DAY_US
from tests.support.synthetic import START_US, make_interactions, with_stray
from training.data import VIRTUAL_SPAN_US, Interactions
from training.moments import (
    ENOUGH_USERS,
    FEWEST_SLICES,
    FEWEST_USERS,
    MOMENTS_OF_SLICE,
    moment_of,
    position_moments,
    time_moments,
)
from training.split import cutoff_split, holdout_split, liked_weights, new_liked_items


def rows(*entries: tuple[int, int, int, float]) -> Interactions:
    """Return interactions from (user, item, time, weight), already in time order."""
    user, item, at_us, weight = (np.array(column) for column in zip(*entries, strict=True))
    return Interactions(
        users=IdMap([f"u{number}" for number in range(int(user.max()) + 1)]),
        items=IdMap([f"i{number}" for number in range(int(item.max()) + 1)]),
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        weight=weight.astype(np.float32),
        at_us=at_us.astype(np.int64),
        known_us=at_us.astype(np.int64),
    )


@pytest.mark.parametrize(("n_rows", "kept"), [(1, 1), (2, 2), (4, 4), (5, 4), (6, 5), (10, 8), (11, 9)])
def test_holdout_keeps_the_first_ceil_of_four_fifths(n_rows: int, kept: int) -> None:
    other = [(1, 0, 100 + number, 1.0) for number in range(5)]
    split = holdout_split(rows(*[(0, 0, number, 1.0) for number in range(n_rows)], *other), 0.2)
    assert (split.history < n_rows).sum() == kept


def test_holdout_cuts_in_time_order_with_ties_in_file_order() -> None:
    split = holdout_split(rows(*[(0, item, 7, 1.0) for item in range(5)]), 0.2)
    assert split.history.tolist() == [0, 1, 2, 3]
    assert split.later.tolist() == [4]


def test_a_cut_between_sittings_leaves_each_whole_and_a_users_only_one_on_this_side() -> None:
    twice, once, at_its_begin = [0, 5, 9, 100, 105], [0, 8, 16, 24, 32], [0, 1, 2, 3, 100]
    entries = [(user, 0, at, 1.0) for user, times in enumerate((twice, once, at_its_begin)) for at in times]
    interactions = rows(*sorted(entries, key=lambda row: row[2]))

    def later(sitting_us: int | None) -> list[list[int]]:
        split = holdout_split(interactions, 0.2, sitting_us)
        return [interactions.at_us[split.later[interactions.user[split.later] == user]].tolist() for user in range(3)]

    assert later(None) == [[105], [32], [100]]
    assert later(10) == [[100, 105], [], [100]]
    assert later(4) == [[105], [32], [100]]


def test_rows_of_one_instant_are_one_sitting_whatever_the_clock() -> None:
    interactions = rows(*[(0, item, 7 + item // 3, 1.0) for item in range(6)], (1, 0, 20, 1.0))
    clocked = replace(interactions, has_clock=False).on_backtest_clock()
    assert [len(set(clocked.at_us[begin : begin + 3].tolist())) for begin in (0, 3)] == [1, 1]
    assert holdout_split(clocked, 0.2, 0).later.tolist() == [3, 4, 5]


def test_cutoff_is_the_first_later_time() -> None:
    split = cutoff_split(rows((0, 0, 1, 1.0), (0, 1, 5, 1.0), (1, 2, 5, 1.0), (1, 2, 9, 1.0)), 5)
    assert split.history.tolist() == [0]
    assert split.later.tolist() == [1, 2, 3]


def test_what_became_known_after_a_cut_is_on_neither_side_of_it() -> None:
    known = rows((0, 0, 1, 1.0), (0, 1, 4, 1.0), (1, 2, 5, 1.0), (1, 2, 9, 1.0))
    late = replace(known, known_us=np.array([1, 7, 12, 9]))
    split = cutoff_split(late, 5)
    assert split.history.tolist() == [0]
    assert split.later.tolist() == [2, 3]
    with pytest.raises(ContractError, match="2 happened, but became known later; history comes with `backfill: 1`"):
        cutoff_split(replace(known, known_us=np.full(4, 100)), 5)


@pytest.mark.parametrize("cutoff", [0, 100])
def test_a_cut_outside_the_data_is_refused(cutoff: int) -> None:
    with pytest.raises(ContractError, match="choose a cut inside the data"):
        cutoff_split(rows((0, 0, 1, 1.0), (0, 1, 5, 1.0)), cutoff)


def test_a_cut_outside_the_data_is_told_as_times_where_they_are_some() -> None:
    timed = replace(rows((0, 0, 1_000_000, 1.0), (0, 1, 5_000_000, 1.0)), has_clock=True)
    with pytest.raises(
        ContractError, match=r"cutoff 1970-01-01T00:00:09Z .* from 1970-01-01T00:00:01Z to 1970-01-01T00:0"
    ):
        cutoff_split(timed, 9_000_000)


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, 3.0])
def test_a_senseless_share_is_refused(share: float) -> None:
    with pytest.raises(ContractError, match="expected a number between 0 and 1"):
        holdout_split(rows((0, 0, 1, 1.0), (0, 1, 5, 1.0)), share)


def test_labels_are_new_liked_and_distinct() -> None:
    history = rows((0, 0, 1, 1.0), (1, 3, 1, 1.0))
    later = rows((0, 0, 2, 1.0), (0, 2, 3, 1.0), (0, 2, 4, 1.0), (0, 1, 5, 0.0), (1, 3, 6, 1.0))
    assert [entry.tolist() for entry in new_liked_items(history, later, np.array([0, 1]))] == [[2], []]
    again = new_liked_items(history, later, np.array([0, 1]), include_seen=True)
    assert [entry.tolist() for entry in again] == [[0, 2], [3]]


def test_what_was_taken_back_again_is_no_label_and_a_like_that_stands_has_its_own_weight() -> None:
    one_more = (1, 0, 4, 2.0)  # of another user: taken back by nobody
    later = rows((0, 0, 1, 2.0), (0, 1, 2, 1.0), (0, 1, 3, 2.0), one_more, (0, 0, 5, -2.0), (0, 1, 6, -2.0))
    users = np.array([0, 1])
    labels = new_liked_items(later.take(np.array([], dtype=int)), later, users)
    assert [entry.tolist() for entry in labels] == [[1], [0]]
    assert [entry.tolist() for entry in liked_weights(later, users, labels)] == [[1.0], [2.0]]


def test_pairs_of_many_users_and_items_are_told_apart() -> None:
    """More pairs than an int32 has: three million interactions of a hundred thousand users."""
    few = rows((0, 0, 1, 1.0), (1, 1, 2, 1.0), (1, 2, 3, 0.5))
    many = replace(few, items=IdMap([f"i{number}" for number in range(60_000)]), user=few.user + np.int32(70_000))
    many = replace(many, item=few.item + np.int32(50_000))
    users = np.array([70_000, 70_001])
    labels = new_liked_items(many.take(np.array([], dtype=int)), many, users)
    assert [entry.tolist() for entry in labels] == [[50_000], [50_001, 50_002]]
    assert [entry.tolist() for entry in liked_weights(many, users, labels)] == [[1.0], [1.0, 0.5]]


def test_each_users_moment_is_just_after_the_newest_history_row() -> None:
    interactions = make_interactions()
    for moment in position_moments(interactions, 0.2, 2):
        newest = dict.fromkeys(moment.users.tolist(), 0)
        for user, at in zip(moment.history.user.tolist(), moment.history.at_us.tolist(), strict=True):
            newest[user] = max(newest.get(user, 0), at)
        assert [newest[user] + 1 for user in moment.users.tolist()] == moment.as_of_us.tolist()
        assert all(len(entry) for entry in moment.labels)


def test_of_too_few_interactions_to_hold_one_out_there_is_no_moment() -> None:
    few = rows((0, 0, 1, 1.0), (0, 1, 2, 1.0), (1, 2, 3, 1.0))
    assert position_moments(few, 0.2, 2) == []
    assert time_moments(few, 4, 2) == []


def test_later_moments_hold_out_from_what_earlier_ones_knew() -> None:
    latest, earlier = position_moments(make_interactions(), 0.2, 2)
    assert len(earlier.history) < len(latest.history) < len(make_interactions())


def test_moments_in_time_do_not_look_beyond_their_own_window() -> None:
    interactions = make_interactions(n_users=700)
    until = START_US + 40 * DAY_US
    moments = time_moments(interactions, until, 2)
    assert len(moments) == 2 * MOMENTS_OF_SLICE
    later, earlier = moments[:MOMENTS_OF_SLICE], moments[MOMENTS_OF_SLICE:]
    assert len(later[0].users) >= ENOUGH_USERS
    for together in (later, earlier):
        assert all(moment.learned is together[0].learned for moment in together), "one fit of retrieval"
        for moment in together:
            assert moment.learned.at_us.max() < together[0].as_of_us.min()
            assert moment.history.at_us.max() < moment.as_of_us.min() <= until
    assert later[0].learned is not earlier[0].learned
    window = until - int(later[-1].as_of_us[0])
    assert max(int(moment.as_of_us[0]) for moment in earlier) + window <= int(later[0].as_of_us[0]) + window


def test_fewer_users_lead_to_fewer_slices_of_longer_windows() -> None:
    n_users = 2 * FEWEST_USERS
    assert FEWEST_USERS < n_users < ENOUGH_USERS
    interactions, until = make_interactions(n_users=n_users, per_user=6), START_US + 40 * DAY_US
    moments = time_moments(interactions, until, 3)
    assert len(moments) == FEWEST_SLICES * MOMENTS_OF_SLICE
    assert all(moment.has_time for moment in moments)
    assert FEWEST_USERS <= len(moments[0].users) < ENOUGH_USERS
    unclocked = time_moments(replace(interactions, has_clock=False), until, 3)
    assert not any(moment.has_time for moment in unclocked), "who is in a window of mere numbers says little"


def test_too_few_users_lead_to_moments_by_position() -> None:
    moments = time_moments(make_interactions(n_users=30), START_US + 40 * DAY_US, 2)
    assert len({int(at) for at in moments[0].as_of_us}) > 1


def in_sittings(n_users: int, per_user: int) -> Interactions:
    """Return what some users like in as many sittings, days apart, of five new items in five minutes each."""
    entries = [
        (user, 5 * sitting + item, (9 * sitting + user % 7) * DAY_US + item * DAY_US // 1_440, 1.0)
        for user in range(n_users)
        for sitting in range(per_user)
        for item in range(5)
    ]
    return rows(*sorted(entries, key=lambda row: row[2]))


def test_few_users_are_cut_between_their_sittings_if_they_come_again() -> None:
    interactions = in_sittings(40, 4)
    moments = time_moments(interactions, int(interactions.at_us[-1]) + 1, 2)
    assert [len(moment.users) for moment in moments] == [40, 40]
    for number, moment in enumerate(moments):
        assert {len(labels) for labels in moment.labels} == {5}, "a whole sitting"
        assert {int(labels[0]) // 5 for labels in moment.labels} == {3 - number}
    one_each = in_sittings(40, 1)
    assert {len(labels) for labels in time_moments(one_each, 30 * DAY_US, 1)[0].labels} == {1}, "a part of the only one"


def with_early_looks(interactions: Interactions) -> Interactions:
    """Return the interactions after 60 rows of weight 0, a day each: the likes lie in the last 40 % of the span."""
    early = interactions.at_us[0] - np.arange(60, 0, -1) * DAY_US
    first = np.r_[np.zeros(len(early), np.int64), np.arange(len(interactions))]
    at_us, weight = np.concatenate((early, interactions.at_us)), interactions.weight[first].copy()
    weight[: len(early)] = 0
    return replace(interactions.take(first), at_us=at_us, known_us=at_us, weight=weight)


def test_a_history_without_likes_makes_no_slice() -> None:
    interactions = with_early_looks(make_interactions(n_users=600, per_user=10))
    moments = time_moments(interactions, START_US + 40 * DAY_US, 3)
    assert len(moments) == FEWEST_SLICES * MOMENTS_OF_SLICE, "longer windows have more users, but leave one slice"
    assert all(moment.has_time for moment in moments)
    assert all((moment.learned.weight > 0).any() for moment in moments)


def test_one_old_event_moves_no_moment() -> None:
    interactions, until = make_interactions(n_users=700), START_US + 40 * DAY_US
    expected, found = time_moments(interactions, until, 3), time_moments(with_stray(interactions), until, 3)
    assert all(moment.has_time for moment in found)
    at_us, as_ever_us = ([int(moment.as_of_us[0]) for moment in some] for some in (found, expected))
    assert at_us == pytest.approx(as_ever_us, abs=40 * DAY_US // 50)


def test_users_are_not_cut_again_where_nothing_was_liked_before() -> None:
    looks = [(user, item, item, 1.0 if item > 5 else 0.0) for user in range(2) for item in range(10)]
    interactions = rows(*sorted(looks, key=lambda row: row[2]))
    moments = position_moments(interactions, 0.2, 3)
    assert [len(moment.history) for moment in moments] == [16, 14]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [([2, -2], False), ([0, 0], False), ([-2, 2], True), ([2, -2, -2, 1], True), ([2, 2, -2], True), ([], False)],
)
def test_only_likes_that_were_not_taken_back_are_some(weights: list[float], expected: bool) -> None:  # noqa: FBT001
    found = rows(*[(0, 0, number, weight) for number, weight in enumerate([*weights, 0])])
    assert found.has_likes == expected


def test_users_without_labels_are_left_out() -> None:
    interactions = rows((0, 0, 1, 1.0), (1, 0, 1, 1.0), (0, 1, 9, 1.0), (1, 1, 9, 0.0))
    moment = moment_of(interactions, cutoff_split(interactions, 5), 5)
    assert moment.users.tolist() == [0]
    assert [entry.tolist() for entry in moment.labels] == [[1]]


def test_numbers_that_only_order_run_on_a_virtual_clock() -> None:
    interactions = rows(*[(0, 0, 10**number, 1.0) for number in range(10)])
    clocked = interactions.on_backtest_clock()
    assert not clocked.has_clock
    assert len(set(np.diff(clocked.at_us).tolist())) == 1
    assert clocked.at_us.max() < VIRTUAL_SPAN_US


def test_real_times_keep_their_clock_with_buckets_of_a_thousandth() -> None:
    clocked = make_interactions().on_backtest_clock()
    span = int(clocked.at_us[-1] - clocked.at_us[0])
    assert clocked.has_clock
    assert clocked.bucket_us == span // 1000


def test_profiles_are_newest_first_cut_to_the_limit_with_all_that_was_seen() -> None:
    interactions = rows((0, 3, 1, 1.0), (1, 0, 2, 1.0), (0, 1, 3, 0.5), (0, 2, 4, 0.0), (0, 1, 5, 1.0))
    profiles = interactions.profiles(np.array([1, 0]), 2)
    assert profiles.user_ids == ("u1", "u0")
    assert profiles.offsets.tolist() == [0, 1, 3]
    assert profiles.item.tolist() == [0, 1, 2]
    assert profiles.at_us.tolist() == [2, 5, 4]
    assert profiles.seen(1).tolist() == [1, 2, 3]
    assert profiles.take(np.array([1])).item.tolist() == [1, 2]
