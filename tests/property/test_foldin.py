"""Fold-in solves what ALS solves: held against implicit itself."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from tests.support.synthetic import make_interactions
from training.als import AlsConfig, confidence_matrix, fit_als, model_of
from training.bundle.foldin import FoldIn


@given(
    seed=st.integers(0, 1000),
    factors=st.sampled_from([4, 16]),
    alpha=st.sampled_from([0.5, 1.0, 10.0]),
    regularization=st.sampled_from([0.01, 1.0]),
)
@settings(max_examples=15, deadline=None)
def test_fold_in_of_a_training_user_equals_implicits_half_step(
    seed: int, factors: int, alpha: float, regularization: float
) -> None:
    interactions = make_interactions(seed, n_users=15, n_items=40)
    config = AlsConfig(factors=factors, alpha=alpha, regularization=regularization, iterations=3)
    limit = 12
    fold_in = fit_als(confidence_matrix(interactions, limit), config, seed=seed)
    matrix = confidence_matrix(interactions, limit)
    matrix = matrix[:, np.unique(matrix.indices)]
    with threadpool_limits(1, "blas"):
        model = model_of(config, seed)
        model.fit(matrix, show_progress=False)
        expected = model.recalculate_user(np.arange(15), matrix)
    profiles = interactions.profiles(np.arange(15), limit)
    for user in range(15):
        events = profiles.events(user)
        vector = fold_in.vector(profiles.item[events], profiles.weight[events])
        assert vector is not None
        np.testing.assert_allclose(vector, expected[user], rtol=1e-4, atol=1e-4)


@given(seed=st.integers(0, 1000), more=st.integers(1, 30))
@settings(max_examples=15, deadline=None)
def test_items_that_nobody_liked_change_no_other_factors(seed: int, more: int) -> None:
    interactions = make_interactions(seed, n_users=15, n_items=40)
    matrix, config = confidence_matrix(interactions, 12), AlsConfig(factors=4, iterations=3)
    wider = matrix.copy()
    wider.resize(matrix.shape[0], matrix.shape[1] + more)
    found = fit_als(wider, config, seed=seed).factors
    np.testing.assert_array_equal(found[: matrix.shape[1]], fit_als(matrix, config, seed=seed).factors)
    assert not found[matrix.shape[1] :].any()


@given(seed=st.integers(0, 1000), more=st.integers(1, 30))
@settings(max_examples=15, deadline=None)
def test_users_who_liked_nothing_change_no_factors(seed: int, more: int) -> None:
    interactions = make_interactions(seed, n_users=15, n_items=40)
    matrix, config = confidence_matrix(interactions, 12), AlsConfig(factors=4, iterations=3)
    longer = matrix.copy()
    longer.resize(matrix.shape[0] + more, matrix.shape[1])
    found = fit_als(longer, config, seed=seed).factors
    np.testing.assert_array_equal(found, fit_als(matrix, config, seed=seed).factors)


@given(st.permutations(list(range(10))))
def test_fold_in_does_not_depend_on_the_order_of_events(order: list[int]) -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(20, 6)).astype(np.float32)
    fold_in = FoldIn(factors, (factors.T @ factors + np.eye(6)).astype(np.float32), 2.0)
    item = rng.integers(20, size=10).astype(np.int32)
    weight = rng.choice(np.array([-1.0, 0.0, 0.5, 1.0], np.float32), 10)
    one = fold_in.vector(item, weight)
    other = fold_in.vector(item[order], weight[order])
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one, other)


@given(
    seed=st.integers(0, 1000),
    alpha=st.sampled_from([0.1, 0.5, 2.0]),
    liked=st.lists(st.integers(0, 59), min_size=1, max_size=60, unique=True),
)
def test_items_that_the_gram_lacks_count_whole(seed: int, alpha: float, liked: list[int]) -> None:
    factors = np.random.default_rng(seed).normal(size=(60, 6)).astype(np.float32)
    held = np.arange(60) < 20
    gram = factors[held].T @ factors[held] + np.eye(6, dtype=np.float32)
    vector = FoldIn(factors, gram, alpha, held).vector(np.array(liked, np.int32), np.ones(len(liked), np.float32))
    of_gram = np.isin(np.arange(60), liked).astype(float) * alpha + held * ~np.isin(np.arange(60), liked)
    of_gram[held & np.isin(np.arange(60), liked)] = alpha  # 1 by the gram, and alpha - 1 by the event
    exact = factors.astype(float)
    system = (exact.T * of_gram) @ exact + np.eye(6)
    expected = np.linalg.solve(system, alpha * exact[liked].sum(axis=0))
    np.testing.assert_allclose(np.asarray(vector), expected, atol=1e-3)


def test_equations_without_a_solution_give_no_vector() -> None:
    """As those of bundles that were made before, for who likes many items that their gram lacks."""
    factors = np.ones((30, 2), dtype=np.float32)
    assert (
        FoldIn(factors, np.eye(2, dtype=np.float32), 0.5).vector(np.arange(30, dtype=np.int32), np.ones(30, np.float32))
        is None
    )


def test_fold_in_without_liking_has_no_vector() -> None:
    fold_in = FoldIn(np.eye(3, dtype=np.float32), 2 * np.eye(3, dtype=np.float32), 1.0)
    assert fold_in.vector(np.array([1, 2], np.int32), np.array([0.0, -1.0], np.float32)) is None
    assert fold_in.vector(np.empty(0, np.int32), np.empty(0, np.float32)) is None


def test_one_liked_item_pulls_the_vector_towards_it() -> None:
    fold_in = FoldIn(np.eye(3, dtype=np.float32), 2 * np.eye(3, dtype=np.float32), 1.0)
    vector = fold_in.vector(np.array([1], np.int32), np.array([1.0], np.float32))
    np.testing.assert_allclose(np.asarray(vector), np.array([0, 0.5, 0]))
    stronger = replace(fold_in, alpha=3.0).vector(np.array([1], np.int32), np.array([1.0], np.float32))
    np.testing.assert_allclose(np.asarray(stronger), np.array([0, 0.75, 0]))
