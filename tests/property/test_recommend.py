"""Laws of `recommend`: a batch is its users one by one, filters hold, and lists have k items where k are eligible."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts.errors import ContractError
from features.contracts.ids import MISSING
from features.contracts.profiles import Options, Profiles
from features.vectorize import USER_FEATURES
from tests.support.synthetic import trained
from training.bundle.plan import BLEND
from training.bundle.recommender import Recommender
from training.bundle.result import Recommendations
from training.bundle.sources import SOURCES

N_ITEMS = 80


def recommend(
    recommender: Recommender, profiles: Profiles, options: Options, *, trace: bool = False
) -> Recommendations:
    parts = trained()[1]
    statistics = parts.state.at(parts.closed_at_us)
    return recommender.recommend(profiles, statistics, parts.closed_at_us + 1, options, trace=trace)


def ordered_by(recommender: Recommender, order_by: str) -> Recommender:
    """Return the same recommender with another order of its candidates: one source's, or "blend"."""
    return replace(recommender, plan=msgspec.structs.replace(recommender.plan, order_by=order_by), ranker=None)


def some_recommender(order_by: str) -> Recommender:
    recommender = trained()[1].recommender()
    return recommender if order_by == "ranker" else ordered_by(recommender, order_by)


def profiles_of(users: list[int], limit: int = 500) -> Profiles:
    return trained()[0].profiles(np.array(users), limit)


orders = st.sampled_from(["ranker", BLEND, *SOURCES])
users = st.lists(st.integers(0, 59), min_size=1, max_size=8)
item_sets = st.sets(st.integers(0, N_ITEMS - 1), max_size=N_ITEMS).map(lambda s: np.array(sorted(s), np.int32))


@given(users=users, order_by=orders, k=st.integers(1, 30), limit=st.sampled_from([0, 1, 5, 500]))
@settings(max_examples=60, deadline=None)
def test_a_batch_equals_its_users_one_by_one(users: list[int], order_by: str, k: int, limit: int) -> None:
    recommender = some_recommender(order_by)
    profiles = profiles_of(users, limit)
    batch = recommend(recommender, profiles, Options(k=k), trace=True)
    for row in range(len(users)):
        one = recommend(recommender, profiles.take(np.array([row])), Options(k=k), trace=True)
        np.testing.assert_array_equal(one.items[0], batch.items[row])
        np.testing.assert_array_equal(one.scores[0], batch.scores[row])
        np.testing.assert_array_equal(one.sources[0], batch.sources[row])
        np.testing.assert_array_equal(one.because[0], batch.because[row])
        np.testing.assert_array_equal(one.traces[0].rows, batch.traces[row].rows)
        assert one.fallback_reason[0] == batch.fallback_reason[row]


@given(user=st.integers(0, 59), order_by=orders, eligible=item_sets, exclude=item_sets, k=st.integers(1, 80))
@settings(max_examples=80, deadline=None)
def test_k_items_come_back_whenever_k_are_eligible_and_no_others(
    user: int, order_by: str, eligible: np.ndarray, exclude: np.ndarray, k: int
) -> None:
    mask = np.zeros(N_ITEMS, dtype=bool)
    mask[eligible] = True
    profiles = profiles_of([user])
    found = recommend(some_recommender(order_by), profiles, Options(k=k, eligible=mask, exclude=exclude))
    items = found.items[0][found.items[0] != MISSING]
    allowed = set(eligible.tolist()) - set(exclude.tolist()) - set(profiles.seen(0).tolist())
    assert set(items.tolist()) <= allowed
    assert len(items) == min(k, len(allowed))
    assert len(set(items.tolist())) == len(items)
    scores = found.scores[0][: len(items)]
    assert (np.diff(scores) <= 0).all()
    assert np.isnan(found.scores[0][len(items) :]).all()


@given(user=st.integers(0, 59), candidates=item_sets)
@settings(max_examples=30, deadline=None)
def test_given_candidates_are_ranked_all_and_alone(user: int, candidates: np.ndarray) -> None:
    options = Options(k=N_ITEMS, candidates=candidates, include_seen=True)
    found = recommend(some_recommender("ranker"), profiles_of([user]), options)
    items = found.items[0][found.items[0] != MISSING]
    assert sorted(items.tolist()) == candidates.tolist()


@given(user=st.integers(0, 59), order=st.permutations(list(range(30))))
@settings(max_examples=20, deadline=None)
def test_ranking_does_not_depend_on_the_order_of_candidates(user: int, order: list[int]) -> None:
    recommender, profiles = some_recommender("ranker"), profiles_of([user])
    plain = Options(k=30, candidates=np.arange(30, dtype=np.int32), include_seen=True)
    shuffled = Options(k=30, candidates=np.array(order, np.int32), include_seen=True)
    np.testing.assert_array_equal(
        recommend(recommender, profiles, plain).items, recommend(recommender, profiles, shuffled).items
    )


@given(users=users)
@settings(max_examples=20, deadline=None)
def test_seen_items_come_back_only_when_asked_for(users: list[int]) -> None:
    profiles = profiles_of(users)
    everything = recommend(some_recommender("ranker"), profiles, Options(k=N_ITEMS, include_seen=True))
    for row in range(len(users)):
        assert set(everything.items[row].tolist()) == set(range(N_ITEMS))


def test_without_history_the_popular_list_comes_and_says_so() -> None:
    found = recommend(some_recommender("ranker"), profiles_of([0], limit=0), Options(k=10))
    assert found.fallback_reason == ("no_history",)
    assert (found.items[0] != MISSING).all()
    assert (found.because[0] == MISSING).all()


def test_users_get_items_of_their_own_group() -> None:
    """Data with a provable answer: four of five events are in the user's group, a quarter of all items."""
    found = recommend(some_recommender("ranker"), profiles_of(list(range(60))), Options(k=5))
    share = (found.items % 4 == (np.arange(60) % 4)[:, None]).mean()
    assert share > 0.8


@given(user=st.integers(0, 59))
@settings(max_examples=10, deadline=None)
def test_the_cause_of_an_item_stands_in_the_liked_history(user: int) -> None:
    profiles = profiles_of([user])
    found = recommend(some_recommender("ranker"), profiles, Options(k=20))
    liked = set(profiles.item[profiles.weight > 0].tolist())
    assert set(found.because[0].tolist()) - {MISSING} <= liked


def test_a_history_that_reaches_the_moment_is_refused() -> None:
    _, parts = trained()
    profiles = profiles_of([3])
    newest = int(profiles.at_us.max())
    early = parts.state.empty(N_ITEMS).at(0)
    recommender = parts.recommender()
    recommender.recommend(profiles, early, newest + 1, Options())
    with pytest.raises(ContractError, match="history of user 'u3' holds an event at"):
        recommender.recommend(profiles, early, newest, Options())


def test_statistics_newer_than_the_moment_are_refused() -> None:
    _, parts = trained()
    statistics = parts.state.at(parts.closed_at_us)
    with pytest.raises(ContractError, match="item statistics closed at"):
        parts.recommender().recommend(profiles_of([0], 0), statistics, parts.closed_at_us - 1, Options())


@given(user=st.integers(0, 59), eligible=item_sets, k=st.integers(1, 80))
@settings(max_examples=40, deadline=None)
def test_a_list_without_time_for_the_ranker_is_the_blend_and_says_so(user: int, eligible: np.ndarray, k: int) -> None:
    _, parts = trained()
    mask = np.zeros(N_ITEMS, dtype=bool)
    mask[eligible] = True
    profiles, options, steps = profiles_of([user]), Options(k=k, eligible=mask), []

    def hurried(step: str) -> bool:
        steps.append(step)
        return False

    recommender, statistics = some_recommender("ranker"), parts.state.at(parts.closed_at_us)
    found = recommender.recommend(profiles, statistics, parts.closed_at_us + 1, options, lap=hurried)
    assert found.fallback_reason == ("ranker_late",)
    assert steps == ["retrieve"]
    blend = recommend(ordered_by(recommender, BLEND), profiles, options)
    np.testing.assert_array_equal(found.items, blend.items)


@given(
    user=st.integers(0, 59), eligible=item_sets, exclude=item_sets, k=st.integers(1, 80), step=st.sampled_from([1, 2])
)
@settings(max_examples=60, deadline=None)
def test_the_popular_list_keeps_to_what_is_allowed(
    user: int, eligible: np.ndarray, exclude: np.ndarray, k: int, step: int
) -> None:
    _, parts = trained()
    mask = np.zeros(N_ITEMS, dtype=bool)
    mask[eligible] = True
    profiles = profiles_of([user])
    options = Options(k=k, eligible=mask, exclude=exclude)
    allowed = set(eligible.tolist()) - set(exclude.tolist()) - set(profiles.seen(0).tolist())
    if step > 1:
        options = replace(options, candidates=np.arange(0, N_ITEMS, step, dtype=np.int32))
        allowed &= set(range(0, N_ITEMS, step))
    statistics = parts.state.at(parts.closed_at_us)
    items = some_recommender("ranker").popular(profiles, statistics, options).items[0]
    items = items[items != MISSING]
    assert set(items.tolist()) <= allowed
    assert len(set(items.tolist())) == len(items) == min(k, len(allowed))
    counts = statistics.count[items[: min(len(items), 3)]]
    assert (counts > 0).all() or (statistics.count[sorted(allowed)] > 0).sum() < 3


@given(user=st.integers(0, 59), later=st.integers(0, 14 * 60 * 1_000_000))
@settings(max_examples=40, deadline=None)
def test_within_a_bucket_of_statistics_an_answer_does_not_change(user: int, later: int) -> None:
    """What lets a server give an answer again."""
    _, parts = trained()
    profiles, statistics = profiles_of([user]), parts.state.at(parts.closed_at_us)
    first, again = (
        some_recommender("ranker").recommend(profiles, statistics, parts.closed_at_us + at, Options(), trace=True)
        for at in (1, 1 + later)
    )
    np.testing.assert_array_equal(first.items, again.items)
    np.testing.assert_array_equal(first.scores, again.scores)
    np.testing.assert_array_equal(first.traces[0].rows, again.traces[0].rows)


@given(user=st.integers(0, 59), limit=st.sampled_from([0, 1, 5, 500]))
@settings(max_examples=20, deadline=None)
def test_a_users_own_features_are_the_last_columns_of_every_row(user: int, limit: int) -> None:
    recommender, parts = some_recommender("ranker"), trained()[1]
    profiles = profiles_of([user], limit)
    view = recommender.view(parts.state.at(parts.closed_at_us))
    row, shares = recommender.user_features(profiles, 0, view)
    _, rows = recommender.candidates(profiles, 0, view, Options())
    assert row.dtype == np.float32
    np.testing.assert_array_equal(rows[:, -len(USER_FEATURES) :], np.tile(row, (len(rows), 1)))
    assert sum(shares.values()) == pytest.approx(1.0 if shares else 0.0)
