"""No feature row reads at or after its moment: the future may change at will."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features.build.replay import final_state, replay_statistics
from features.contracts.profiles import Options
from features.contracts.statistics import DAY_US, HALF_LIVES_US, NEVER_US
from tests.support.synthetic import START_US, make_interactions, trained
from training.bundle.recommender import view_of
from training.data import Interactions
from training.lists import groups


def rows_at(history: Interactions, users: np.ndarray, as_of_us: np.ndarray) -> dict[int, np.ndarray]:
    recommender = trained()[1].recommender()
    found = {}
    for group in groups(history, users, as_of_us, 500):
        view = view_of(group.statistics, recommender.categories)
        for row, position in enumerate(group.position.tolist()):
            items, rows = recommender.candidates(group.profiles, row, view, Options())
            found[position] = np.column_stack((items.items, rows))
    return found


@given(seed=st.integers(0, 100), day=st.integers(5, 35))
@settings(max_examples=15, deadline=None)
def test_features_do_not_change_when_the_future_does(seed: int, day: int) -> None:
    interactions = make_interactions(1)
    as_of = START_US + day * DAY_US
    before = interactions.take(np.flatnonzero(interactions.at_us < as_of))
    users = np.unique(before.user)[:10]
    moments = np.full(len(users), as_of, dtype=np.int64)
    truth = rows_at(before, users, moments)
    rng = np.random.default_rng(seed)
    future = interactions.at_us >= as_of
    item = np.where(future, rng.integers(80, size=len(interactions)), interactions.item).astype(np.int32)
    weight = np.where(future, rng.random(len(interactions)), interactions.weight).astype(np.float32)
    changed = replace(interactions, item=item, weight=weight)
    # Statistics see all events and must cut by themselves; histories are cut by who asks.
    known = changed.take(np.flatnonzero(changed.at_us < as_of))
    edges = np.array([as_of - as_of % changed.bucket_us])
    of_all, of_known = (
        next(replay_statistics(events.item, events.weight, events.known_us, 80, edges, bucket_us=events.bucket_us))
        for events in (changed, known)
    )
    np.testing.assert_array_equal(of_all.decayed, of_known.decayed)
    np.testing.assert_array_equal(of_all.count, of_known.count)
    for position, rows in rows_at(known, users, moments).items():
        np.testing.assert_array_equal(rows, truth[position])


def test_a_planted_leak_is_caught() -> None:
    """The law above has teeth: statistics that read one bucket too far differ."""
    interactions = make_interactions(1)
    as_of = START_US + 20 * DAY_US
    edges = np.array([as_of, as_of + DAY_US])
    honest, leaky = replay_statistics(
        interactions.item, interactions.weight, interactions.known_us, 80, edges, bucket_us=DAY_US
    )
    assert (honest.count != leaky.count).any()


@given(
    events=st.lists(
        st.tuples(st.integers(0, 5 * 24 * 60), st.integers(0, 9), st.sampled_from([0.0, 0.7, 1.0, 3.0])), max_size=60
    ),
    edge_bucket=st.integers(1, 8),
)
def test_replayed_statistics_equal_brute_force(events: list[tuple[int, int, float]], edge_bucket: int) -> None:
    bucket = DAY_US
    events = sorted(events)
    known = START_US + np.array([minute for minute, _, _ in events], dtype=np.int64) * 60_000_000
    item = np.array([number for _, number, _ in events], dtype=np.int32)
    weight = np.array([value for _, _, value in events], dtype=np.float32)
    edge = START_US + edge_bucket * bucket
    found = next(replay_statistics(item, weight, known, 10, np.array([edge]), bucket_us=bucket))
    closes = known - known % bucket + bucket
    for number in range(10):
        mine = (item == number) & (weight > 0) & (known < edge)
        assert found.count[number] == mine.sum()
        expected = [(weight[mine] * 0.5 ** ((edge - closes[mine]) / half)).sum() for half in HALF_LIVES_US]
        np.testing.assert_allclose(found.decayed[number], expected, rtol=1e-9, atol=1e-300)
        assert found.first_at_us[number] == (closes[mine].min() if mine.any() else NEVER_US)
        assert found.last_at_us[number] == (closes[mine].max() if mine.any() else NEVER_US)


@given(seed=st.integers(0, 50), n_edges=st.integers(1, 20))
@settings(max_examples=20, deadline=None)
def test_statistics_do_not_depend_on_which_edges_were_asked_for(seed: int, n_edges: int) -> None:
    events = make_interactions(seed)
    rng = np.random.default_rng(seed)
    last = int(events.known_us.max()) // DAY_US * DAY_US + DAY_US
    edges = np.unique(np.append(START_US + rng.integers(0, 40, n_edges) * DAY_US, last))
    arrays = (events.item, events.weight, events.known_us)
    *_, stepwise = replay_statistics(*arrays, 80, edges, bucket_us=DAY_US)
    whole = final_state(*arrays, 80, bucket_us=DAY_US).at(last)
    np.testing.assert_array_equal(stepwise.decayed, whole.decayed)
    np.testing.assert_array_equal(stepwise.last_at_us, whole.last_at_us)
