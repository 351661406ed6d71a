"""Compiled loops give what a plain reading of their docstrings gives, and leave their thread's arrays as they were."""

import threading
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from features.compiled import Lists
from features.contracts.ids import MISSING
from training.bundle import loops
from training.bundle.candidates import align
from training.bundle.fusion import FUSION_CONSTANT, reciprocal_ranks
from training.bundle.sources import Offer
from training.bundle.tables import NeighbourTable

N_ITEMS = 50

seeds = st.integers(0, 10_000)
limits = st.integers(0, 60)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    kept = loops.scratch(N_ITEMS)
    assert not kept.sums.any()
    assert (kept.place == MISSING).all()


def table(rng: np.random.Generator) -> tuple[NeighbourTable, np.ndarray]:
    """Return a table of few different weights, of both signs, so that sums tie and cancel; and the same as a matrix."""
    matrix = rng.choice([-0.5, 0, 0, 0.25, 0.5], (N_ITEMS, N_ITEMS))
    np.fill_diagonal(matrix, 0)
    return NeighbourTable.from_matrix(sparse.csr_matrix(matrix), signed=True), matrix


def ordered(scores: np.ndarray, free: np.ndarray, limit: int) -> list[int]:
    found = np.flatnonzero(free & (scores > 0))
    return [int(item) for item in found[np.lexsort((found, -scores[found]))][:limit]]


@given(seeds, limits)
@settings(deadline=None)
def test_the_top_is_that_of_a_full_sort(seed: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    items = rng.permutation(N_ITEMS).astype(np.int32)[: rng.integers(N_ITEMS + 1)]
    scores = rng.choice([1.0, 2.0, 3.0, -1.0, np.inf], len(items))
    wanted = np.lexsort((items, -scores))[:limit]
    expected = items[wanted].tolist(), scores[wanted].tolist()
    found = loops.top(items.copy(), scores.copy(), limit)
    assert (found[0].tolist(), found[1].tolist()) == expected


@given(seeds, limits)
@settings(deadline=None)
def test_the_best_neighbours_are_those_of_a_matrix_product(seed: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    neighbours, matrix = table(rng)
    owners = rng.integers(N_ITEMS, size=rng.integers(30)).astype(np.int32)
    strength = rng.choice([0.5, 1.0, 2.0], len(owners))
    blocked = rng.random(N_ITEMS) < 0.2
    scores = strength @ matrix[owners]
    items, found = neighbours.best(owners, strength, blocked, limit)
    assert items.tolist() == ordered(scores, ~blocked, limit)
    np.testing.assert_allclose(found, scores[items])


@given(seeds, limits)
@settings(deadline=None)
def test_what_trends_in_categories_equals_brute_force(seed: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    member = rng.random((N_ITEMS, 6)) < 0.3
    offsets = np.concatenate(([0], np.cumsum(member.sum(axis=1))))
    categories = Lists(offsets.astype(np.int64), np.nonzero(member)[1].astype(np.int32))
    in_heads = member & (rng.random(member.shape) < 0.7)
    head_offsets = np.concatenate(([0], np.cumsum(in_heads.sum(axis=0))))
    heads = Lists(head_offsets.astype(np.int64), np.nonzero(in_heads.T)[1].astype(np.int32))
    share, trend, blocked = rng.random(6), rng.choice([1.0, 2.0], N_ITEMS), rng.random(N_ITEMS) < 0.2
    chosen = rng.permutation(6)[:3].astype(np.int32)
    sums = loops.scratch(N_ITEMS).sums
    items, scores = loops.best_trending(chosen, share, heads, categories, trend, blocked, sums, limit)
    expected = (member @ share) * trend
    free = ~blocked & in_heads[:, chosen].any(axis=1)
    assert sorted(items.tolist()) == sorted(ordered(np.round(expected, 9), free, limit)) or limit < free.sum()
    np.testing.assert_allclose(scores, np.sort(expected[free])[::-1][:limit])
    np.testing.assert_allclose(scores, expected[items])


@given(seeds, limits)
@settings(deadline=None)
def test_the_first_free_stand_in_the_order_and_have_a_score(seed: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    score, blocked = rng.choice([0.0, 1.0, 2.0], N_ITEMS), rng.random(N_ITEMS) < 0.5
    order = np.argsort(-score, kind="stable").astype(np.int32)
    assert loops.first_free(order, score, blocked, limit).tolist() == ordered(score, ~blocked, limit)


@given(seeds)
@settings(deadline=None)
def test_offers_are_aligned_by_item(seed: int) -> None:
    rng = np.random.default_rng(seed)
    offers = []
    for size in rng.integers(0, 25, 4):
        scores = np.sort(rng.random(size))[::-1] * rng.choice([1.0, -1.0])
        offers.append(Offer(rng.permutation(N_ITEMS)[:size].astype(np.int32), scores.copy()))
    items = np.flatnonzero(rng.random(N_ITEMS) < 0.5).astype(np.int32)
    found = align(items, offers, N_ITEMS)
    for column, offer in enumerate(offers):
        places = dict(zip(offer.items.tolist(), range(len(offer.items)), strict=True))
        for row, item in enumerate(items.tolist()):
            if item not in places:
                assert np.isnan(found.ranks[row, column])
                assert np.isnan(found.relative[row, column])
                continue
            tenth = abs(offer.scores[min(9, len(offer.scores) - 1)])
            assert found.ranks[row, column] == places[item] + 1
            assert found.relative[row, column] == pytest.approx(offer.scores[places[item]] / tenth, rel=1e-6)


@given(seeds)
@settings(deadline=None)
def test_the_strongest_owner_has_the_heaviest_entry(seed: int) -> None:
    rng = np.random.default_rng(seed)
    neighbours, matrix = table(rng)
    owners = rng.permutation(N_ITEMS)[:8].astype(np.int32)
    items = rng.permutation(N_ITEMS)[:10].astype(np.int32)
    for item, owner in zip(items, neighbours.strongest_owners(items, owners), strict=True):
        entries = np.where(matrix[owners, item] != 0, matrix[owners, item], -np.inf)
        assert owner == MISSING if np.isinf(entries).all() else matrix[owner, item] == entries.max()


def test_threads_have_arrays_of_their_own_and_agree() -> None:
    neighbours, _ = table(np.random.default_rng(0))
    owners, blocked = np.arange(N_ITEMS, dtype=np.int32), np.zeros(N_ITEMS, dtype=bool)
    ask = partial(neighbours.best, owners, np.ones(N_ITEMS), blocked, 20)
    found: list[list[int]] = []
    expected = ask()[0].tolist()

    def often() -> None:
        found.extend(ask()[0].tolist() for _ in range(2_000))

    threads = [threading.Thread(target=often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8_000
    assert all(items == expected for items in found)


@given(
    n_candidates=st.integers(0, 40),
    n_sources=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
    known=st.floats(0.0, 1.0),
)
@settings(max_examples=60, deadline=None)
def test_columns_of_offers_are_those_that_numpy_gives_bit_for_bit(
    n_candidates: int, n_sources: int, seed: int, known: float
) -> None:
    rng = np.random.default_rng(seed)
    unknown = rng.random((n_candidates, n_sources)) > known
    ranks = np.where(unknown, np.nan, rng.integers(1, 500, unknown.shape)).astype(np.float32)
    relative = np.where(unknown, np.nan, rng.normal(size=unknown.shape)).astype(np.float32)
    n_told = int(rng.integers(n_sources + 1))
    wanted = np.empty((n_candidates, 2 * n_told + 2), np.float32)
    wanted[:, : 2 * n_told : 2], wanted[:, 1 : 2 * n_told : 2] = ranks[:, :n_told], relative[:, :n_told]
    wanted[:, 2 * n_told] = np.count_nonzero(~unknown, axis=1)
    blend = reciprocal_ranks(ranks).sum(axis=1)
    wanted[:, 2 * n_told + 1] = blend / max(float(blend.max(initial=0.0)), 1e-12)
    found = np.zeros((n_candidates, 2 * n_told + 5), np.float32)[:, :-3]
    loops.offer_columns(ranks, relative, n_told, FUSION_CONSTANT, found)
    np.testing.assert_array_equal(found, wanted)
