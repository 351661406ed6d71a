"""Laws of the items shown to newcomers: eligible, liked by somebody, told apart by what they add to what is known."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.bundle.onboarding import CONFIDENCE, FAME, POOL, telling_items

N_ITEMS, N_FACTORS = 50, 6


def factors_of(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((N_ITEMS, N_FACTORS)).astype(np.float32)


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_items_are_eligible_liked_once_each_and_always_the_same(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    factors, liked, eligible = factors_of(rng), rng.integers(0, 5, N_ITEMS), rng.random(N_ITEMS) < 0.7
    found = telling_items(factors, liked, k, eligible)
    may = np.flatnonzero((liked > 0) & eligible)
    assert found.dtype == np.int32
    assert len(found) == len(set(found.tolist())) == min(k, len(may))
    assert set(found.tolist()) <= set(may.tolist())
    np.testing.assert_array_equal(found, telling_items(factors, liked, k, eligible))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_each_item_has_the_largest_expected_growth_of_the_determinant(seed: int) -> None:
    rng = np.random.default_rng(seed)
    factors, liked = factors_of(rng), rng.integers(1, 50, N_ITEMS)
    found = telling_items(factors, liked, 8).tolist()
    rows = factors.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    matrix = np.eye(N_FACTORS)
    for place, item in enumerate(found):
        grown = np.array([np.linalg.slogdet(matrix + CONFIDENCE * np.outer(row, row))[1] for row in rows])
        worth = (liked / liked.max()) ** FAME * (grown - np.linalg.slogdet(matrix)[1])
        worth[found[:place]] = -1
        assert worth[item] >= worth.max() - 1e-6
        matrix += CONFIDENCE * np.outer(rows[item], rows[item])


def test_of_two_alike_only_one_is_shown_before_one_of_another_taste() -> None:
    factors = np.array([[1, 0], [1, 0.01], [0, 1], [0.01, 1]], np.float32)
    assert telling_items(factors, np.array([10, 9, 8, 7]), 2).tolist() == [0, 2]


def test_only_the_most_liked_are_looked_at() -> None:
    rng = np.random.default_rng(0)
    factors, liked = factors_of(rng), np.arange(N_ITEMS, 0, -1)
    assert telling_items(factors, liked, 1, None).max() < POOL
    assert not len(telling_items(factors, np.zeros(N_ITEMS, np.int64), 5))
