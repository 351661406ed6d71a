"""Laws of the diverse order: the identity at strength 0, the best first, each place as the formula says."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts.ragged import offsets_of
from features.items import Categories
from training.bundle.diversity import POOL, Likeness, diversify

N_ITEMS = 60
seeds = st.integers(0, 2**32 - 1)
strengths = st.floats(0, 1)


def likeness(rng: np.random.Generator, *, texts: bool) -> Likeness:
    count = rng.integers(0, 4, N_ITEMS)
    index = np.concatenate([np.empty(0, np.int32), *(rng.permutation(6)[:n].astype(np.int32) for n in count)])
    categories = Categories(tuple("abcdef"), offsets_of(count), index.astype(np.int32))
    vectors = rng.standard_normal((N_ITEMS, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[rng.random(N_ITEMS) < 0.3] = 0
    factors = rng.standard_normal((N_ITEMS, 5)).astype(np.float32)
    return Likeness(factors, categories, vectors.astype(np.float16) if texts else None)


def candidates(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    items = np.sort(rng.permutation(N_ITEMS)[: rng.integers(0, N_ITEMS + 1)]).astype(np.int32)
    return items, rng.integers(-5, 5, len(items)) / 3 if rng.random() < 0.5 else rng.standard_normal(len(items))


@given(seed=seeds, k=st.integers(1, 30), texts=st.booleans())
@settings(max_examples=60, deadline=None)
def test_strength_0_is_the_order_of_the_scores(seed: int, k: int, texts: bool) -> None:  # noqa: FBT001  # drawn
    rng = np.random.default_rng(seed)
    like = likeness(rng, texts=texts)
    items, scores = candidates(rng)
    expected = np.argsort(-scores, kind="stable")[:k]
    np.testing.assert_array_equal(diversify(items, scores, like, k, 0.0), expected)


@given(seed=seeds, k=st.integers(1, 30), strength=strengths, texts=st.booleans())
@settings(max_examples=100, deadline=None)
def test_the_best_stays_first_and_the_rest_comes_once_each_from_the_best_candidates(
    seed: int,
    k: int,
    strength: float,
    texts: bool,  # noqa: FBT001  # drawn
) -> None:
    rng = np.random.default_rng(seed)
    like = likeness(rng, texts=texts)
    items, scores = candidates(rng)
    order = diversify(items, scores, like, k, strength)
    best = np.argsort(-scores, kind="stable")
    assert len(order) == len(set(order.tolist())) == min(k, len(items))
    assert set(order.tolist()) <= set(best[: POOL * k].tolist())
    assert order[:1].tolist() == best[:1].tolist()
    np.testing.assert_array_equal(order, diversify(items, scores, like, k, strength))


@given(seed=seeds, strength=strengths)
@settings(max_examples=60, deadline=None)
def test_scale_and_origin_of_scores_do_not_matter(seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    like = likeness(rng, texts=True)
    items, scores = candidates(rng)
    # Powers of two and small integers: exact in floating point.
    moved = diversify(items, np.round(scores * 64) * 8 + 16, like, 10, strength)
    np.testing.assert_array_equal(diversify(items, np.round(scores * 64), like, 10, strength), moved)


@given(seed=seeds, strength=st.sampled_from([0.1, 0.5, 0.9, 1.0]))
@settings(max_examples=60, deadline=None)
def test_each_place_is_what_the_formula_says(seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    like = likeness(rng, texts=True)
    items, scores = candidates(rng)
    k = 8
    order = diversify(items, scores, like, k, strength).tolist()
    if len(items) < 3:
        return
    pool = np.argsort(-scores, kind="stable")[: POOL * k]
    near = like.similarity(items[pool])
    top = scores[pool[0]]
    worst = scores[pool[min(k, len(pool)) - 1]]
    relevance = (scores[pool] - worst) / max(top - worst, 1e-12)
    place_in_pool = {int(row): place for place, row in enumerate(pool)}
    for place in range(1, len(order)):
        above = [place_in_pool[row] for row in order[:place]]
        worth = (1 - strength) * relevance - strength * near[above].max(axis=0)
        worth[above] = -np.inf
        assert worth[place_in_pool[order[place]]] >= worth.max() - 1e-9


def test_likeness_reads_texts_where_both_have_one_and_factors_elsewhere() -> None:
    texts = np.array([[1, 0], [1, 0], [0, 0]], np.float16)
    factors = np.array([[2, 0], [0, 1], [1, 0]], np.float32)
    none = Categories((), np.zeros(4, np.int64), np.empty(0, np.int32))
    items = np.arange(3, dtype=np.int32)
    np.testing.assert_allclose(
        Likeness(factors, none, texts).similarity(items), [[1, 1, 1], [1, 1, 0], [1, 0, 1]], atol=1e-6
    )
    shared = Categories(("a", "b"), np.array([0, 1, 3, 3]), np.array([0, 0, 1], np.int32))
    halves = Likeness(factors, shared, texts).similarity(items)
    assert abs(halves[0, 1] - (1 + 1 / np.sqrt(2)) / 2) < 1e-6
    assert abs(halves[0, 2] - 1) < 1e-6
