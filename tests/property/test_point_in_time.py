"""No feature row reads at or after its moment: the future may change at will."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.build.replay import Start, final_state, replay_statistics
from features.contracts.ids import IdMap
from features.contracts.profiles import Options
from features.contracts.statistics import (
    DAY_US,
    HALF_LIVES_US,
    HOUR_US,
    NEVER_US,
    ItemStatistics,
    StatisticEvents,
    StatisticsState,
)
from features.items import ItemView
from tests.support.synthetic import SMALL, START_US, make_categories, make_facts, make_interactions
from training.bundle.recommender import Recommender
from training.data import Interactions
from training.frames import repeats
from training.groups import candidate_groups
from training.moments import moment_of
from training.retrieval import Training, at_moment, fit_retrieval
from training.split import cutoff_split


def with_another_future(interactions: Interactions, as_of_us: int, seed: int) -> Interactions:
    """Return the same rows, with other items and weights from a time on."""
    rng = np.random.default_rng(seed)
    future = interactions.at_us >= as_of_us
    item = np.where(future, rng.integers(80, size=len(interactions)), interactions.item).astype(np.int32)
    weight = np.where(future, rng.random(len(interactions)), interactions.weight).astype(np.float32)
    return replace(interactions, item=item, weight=weight)


Plant = Callable[[Recommender, Interactions], Recommender]


def rows_of_training(interactions: Interactions, as_of_us: int, plant: Plant = lambda honest, _: honest) -> np.ndarray:
    """Return what a ranker would learn from at a moment: retrieval, candidates and features, as training makes them.

    `plant` may put something dishonest in the recommender's place.
    """
    training = Training(interactions, make_categories(), make_facts(), int(interactions.at_us[-1]) + 1)
    moment = moment_of(interactions, cutoff_split(interactions, as_of_us), as_of_us)
    recommender = plant(fit_retrieval(at_moment(training, moment.learned), SMALL).recommender(), interactions)
    users = np.unique(moment.history.user)[:10]  # whoever has labels later
    labels, gains = [np.array([0], np.int32)] * len(users), [np.ones(1, np.float32)] * len(users)
    asked = replace(moment, users=users, as_of_us=np.full(len(users), as_of_us, np.int64), labels=labels, gains=gains)
    return np.concatenate(
        [group.rows for group in candidate_groups(recommender, asked, np.arange(len(users)), Options())]
    )


def assert_blind_to_the_future(seed: int, day: int, plant: Plant = lambda honest, _: honest) -> None:
    interactions, as_of = make_interactions(1), START_US + day * DAY_US
    changed = with_another_future(interactions, as_of, seed)
    np.testing.assert_array_equal(rows_of_training(changed, as_of, plant), rows_of_training(interactions, as_of, plant))


@given(seed=st.integers(0, 100), day=st.integers(8, 35))
@settings(max_examples=8, deadline=None)
def test_what_a_ranker_learns_from_does_not_change_when_the_future_does(seed: int, day: int) -> None:
    assert_blind_to_the_future(seed, day)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReadsTheFuture(Recommender):
    """Takes item statistics of all events, those after the moment included."""

    everything: Interactions

    def view(self, statistics: ItemStatistics) -> ItemView:
        del statistics
        state = final_state(
            self.everything.statistic_events(), Start.of_nothing(self.n_items), bucket_us=self.everything.bucket_us
        )
        return ItemView(state.at(int(state.last_at_us.max())), self.categories, self.facts)


def test_a_planted_leak_is_caught() -> None:
    """The law above has teeth: features of statistics that know the labels' window break it."""

    def plant(honest: Recommender, everything: Interactions) -> Recommender:
        return ReadsTheFuture(
            **{field.name: getattr(honest, field.name) for field in fields(honest)}, everything=everything
        )

    with pytest.raises(AssertionError, match="Arrays are not equal"):
        assert_blind_to_the_future(0, 20, plant)


def test_retrieval_that_learned_of_the_labels_is_caught() -> None:
    def plant(honest: Recommender, everything: Interactions) -> Recommender:
        training = Training(everything, honest.categories, honest.facts, int(everything.at_us[-1]) + 1)
        return fit_retrieval(training, SMALL).recommender()

    with pytest.raises(AssertionError, match=r"Arrays are not equal|could not be broadcast"):
        assert_blind_to_the_future(0, 20, plant)


@given(seed=st.integers(0, 100), day=st.integers(5, 35))
@settings(max_examples=15, deadline=None)
def test_statistics_at_an_edge_do_not_change_when_the_future_does(seed: int, day: int) -> None:
    interactions, as_of = make_interactions(1), START_US + day * DAY_US
    changed = with_another_future(interactions, as_of, seed)
    known = changed.take(np.flatnonzero(changed.at_us < as_of))
    edges = np.array([as_of - as_of % changed.bucket_us])
    of_all, of_known = (
        next(replay_statistics(events.statistic_events(), Start.of_nothing(80), edges, bucket_us=events.bucket_us))
        for events in (changed, known)
    )
    for name in StatisticsState.names():
        np.testing.assert_array_equal(getattr(of_all, name), getattr(of_known, name), err_msg=name)


ONE_EVENT = st.tuples(
    st.integers(0, 5 * 24 * 60),  # minute
    st.integers(0, 9),  # item
    st.sampled_from([-1.0, 0.0, 0.7, 1.0, 3.0]),  # weight
    st.booleans(),  # strong
    st.sampled_from([float("nan"), 0.1, 0.8]),  # rating
    st.integers(0, 2),  # user
    st.sampled_from(["view", "like"]),
)
OneEvent = tuple[int, int, float, bool, float, int, str]


def interactions_of(rows: list[OneEvent]) -> Interactions:
    minute, item, weight, strong, rating, user, action = zip(*rows, strict=True) if rows else [()] * 7
    users, items = np.array(user, dtype=np.int32), np.array(item, dtype=np.int32)
    known_us = START_US + np.array(minute, dtype=np.int64) * 60_000_000
    return Interactions(
        users=IdMap(["a", "b", "c"]),
        items=IdMap([str(number) for number in range(10)]),
        user=users,
        item=items,
        weight=np.array(weight, dtype=np.float32),
        at_us=known_us,
        known_us=known_us,
        strong=np.array(strong, dtype=np.bool_),
        rating=np.array(rating, dtype=np.float32),
        repeat=repeats(users, items, action, (known_us,)),
    )


@given(rows=st.lists(ONE_EVENT, max_size=60).map(sorted), edge_bucket=st.integers(1, 8))
def test_replayed_statistics_equal_brute_force(rows: list[OneEvent], edge_bucket: int) -> None:
    events, edge = interactions_of(rows), START_US + edge_bucket * DAY_US
    found = next(replay_statistics(events.statistic_events(), Start.of_nothing(10), np.array([edge]), bucket_us=DAY_US))
    closes = events.known_us - events.known_us % DAY_US + DAY_US
    done = [(item, user, action) for _, item, _, _, _, user, action in rows]
    first = np.array([what not in done[:number] for number, what in enumerate(done)], dtype=np.bool_)
    for number in range(10):
        mine = (events.item == number) & (events.known_us < edge)
        liked, rated = mine & first & (events.weight > 0), mine & ~np.isnan(events.rating)
        assert found.count[number] == liked.sum()
        assert found.seen[number] == mine.sum()
        assert found.disliked[number] == (mine & (events.weight < 0)).sum()
        assert found.strong[number] == (liked & events.strong).sum()
        assert found.rating_count[number] == rated.sum()
        np.testing.assert_allclose(found.rating_sum[number], events.rating[rated].sum(), rtol=1e-5)
        expected = [(events.weight[liked] * 0.5 ** ((edge - closes[liked]) / half)).sum() for half in HALF_LIVES_US]
        np.testing.assert_allclose(found.decayed[number], expected, rtol=1e-9, atol=1e-300)
        assert found.first_at_us[number] == (closes[mine].min() if mine.any() else NEVER_US)
        assert found.last_at_us[number] == (closes[mine].max() if mine.any() else NEVER_US)


@given(seed=st.integers(0, 50), n_edges=st.integers(1, 20), bucket_us=st.sampled_from([DAY_US, HOUR_US]))
@settings(max_examples=20, deadline=None)
def test_statistics_do_not_depend_on_which_edges_were_asked_for(seed: int, n_edges: int, bucket_us: int) -> None:
    """Bucket by bucket, from edge to edge or all at once: the same floats, as stored rows and replays must have."""
    interactions = make_interactions(seed)
    events = interactions.statistic_events()
    rng = np.random.default_rng(seed)
    last = int(events.closes_us(bucket_us)[-1])
    edges = np.unique(np.append(START_US + rng.integers(0, 39, n_edges) * DAY_US, last))
    *_, stepwise = replay_statistics(events, Start.of_nothing(80), edges, bucket_us=bucket_us)
    whole = final_state(events, Start.of_nothing(80), bucket_us=bucket_us)
    by_bucket = StatisticsState.empty(80)
    for edge in np.unique(events.closes_us(bucket_us)):
        start, end = np.searchsorted(events.closes_us(bucket_us), [edge, edge + 1])
        by_bucket.add(events[start:end], bucket_us)
    for name in StatisticsState.names():
        np.testing.assert_array_equal(getattr(stepwise, name), getattr(whole.at(last), name), err_msg=name)
        np.testing.assert_array_equal(getattr(by_bucket, name), getattr(whole, name), err_msg=name)


@given(seed=st.integers(0, 50), share=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_what_is_counted_apart_adds_up_whichever_came_first(seed: int, share: float) -> None:
    events = make_interactions(seed).statistic_events()
    of_one = np.random.default_rng(seed).random(len(events)) < share
    parts = [
        StatisticEvents(*(getattr(events, each.name)[rows] for each in fields(events))) for rows in (of_one, ~of_one)
    ]
    whole = final_state(events, Start.of_nothing(80), bucket_us=HOUR_US)
    one, other = (final_state(some, Start.of_nothing(80), bucket_us=HOUR_US) for some in parts)
    for found in (one.plus(other), other.plus(one)):
        for name in StatisticsState.names():
            np.testing.assert_allclose(getattr(found, name), getattr(whole, name), rtol=1e-9, atol=1e-12, err_msg=name)


@given(seed=st.integers(0, 50), begin=st.integers(1, 38), n_edges=st.integers(1, 20))
@settings(max_examples=20, deadline=None)
def test_a_replay_may_begin_at_any_edge_from_what_was_known_there(seed: int, begin: int, n_edges: int) -> None:
    """The same floats as of a whole log; what lies before the beginning is unknown, not known too early."""
    interactions = make_interactions(seed)
    events, begin_us = interactions.statistic_events(), START_US + begin * DAY_US
    until = int(np.searchsorted(events.known_us, begin_us))
    known = final_state(events[:until], Start.of_nothing(80), bucket_us=HOUR_US)
    kept = events[slice(until, len(events))]
    edges = START_US + np.sort(np.random.default_rng(seed).integers(0, 40, n_edges)) * DAY_US
    whole = replay_statistics(events, Start.of_nothing(80), edges, bucket_us=HOUR_US)
    begun = replay_statistics(kept, Start(known, begin_us), edges, bucket_us=HOUR_US)
    for edge, expected, found in zip(edges.tolist(), whole, begun, strict=True):
        for name in StatisticsState.names():
            if edge >= begin_us:
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
        assert edge >= begin_us or not found.seen.any()
