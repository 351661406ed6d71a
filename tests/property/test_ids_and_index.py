"""Ids go there and back; an index finds what brute force finds, and never what is blocked."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts.errors import ContractError
from features.contracts.facts import ItemFacts
from features.contracts.ids import MISSING, IdMap, UnknownIdError
from features.contracts.statistics import ItemStatistics
from features.items import Categories, ItemView
from training.bundle import sources
from training.bundle.sources import LEFT_OUT_AFTERWARDS, AlsSource, User
from training.index import SEARCH_WIDTHS, build_index

ids = st.lists(st.text(min_size=1, max_size=12).filter(lambda text: text.isprintable()), unique=True, max_size=30)


@given(ids)
def test_ids_survive_arrays_and_the_crossing(external: list[str]) -> None:
    known = IdMap.from_arrays(*IdMap(external).to_arrays())
    assert len(known) == len(external)
    assert known.external(known.index(external)) == external
    assert known.index_or_missing(external).tolist() == list(range(len(external)))


@given(ids, st.text(min_size=13, max_size=20))
def test_unknown_ids_are_missing_or_refused_as_the_caller_chose(external: list[str], stranger: str) -> None:
    known = IdMap(external)
    assert stranger not in known
    assert known.index_or_missing([stranger]).tolist() == [MISSING]
    with pytest.raises(UnknownIdError, match="is not among the"):
        known.index([stranger])


def test_a_repeated_id_is_refused() -> None:
    with pytest.raises(ContractError, match="3 ids hold 1 repeated ones"):
        IdMap(["a", "b", "a"])


def offered(factors: np.ndarray, exact_limit: int, query: np.ndarray, blocked: np.ndarray, limit: int) -> np.ndarray:
    index, _ = build_index(factors, factors[:100], exact_limit, exact_limit)
    nothing = Categories((), np.zeros(len(factors) + 1, np.int64), np.empty(0, np.int32))
    view = ItemView(ItemStatistics.empty(len(factors), 0), nothing, ItemFacts.unknown(len(factors)))
    user = User(np.empty(0, np.int32), np.empty(0, np.float32), query)
    return AlsSource(index).offer(user, view, blocked, limit).items


@given(seed=st.integers(0, 200), limit=st.integers(1, 80), share=st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_flat_search_equals_brute_force_over_what_is_free(seed: int, limit: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    factors, query = rng.normal(size=(60, 8)).astype(np.float32), rng.normal(size=8).astype(np.float32)
    blocked = rng.random(60) < share
    found = offered(factors, 100, query, blocked, limit)
    free = np.flatnonzero(~blocked)
    expected = free[np.argsort(-(factors[free] @ query), kind="stable")][:limit]
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("exact_limit", [0, 1_000])
def test_blocked_items_are_left_out_alike_within_a_search_and_after_it(
    exact_limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    factors, query = rng.normal(size=(800, 16)).astype(np.float32), rng.normal(size=16).astype(np.float32)
    blocked = np.zeros(800, dtype=bool)
    blocked[np.argsort(-(factors @ query))[:LEFT_OUT_AFTERWARDS:2]] = True
    after = offered(factors, exact_limit, query, blocked, 100)
    monkeypatch.setattr(sources, "LEFT_OUT_AFTERWARDS", 0)
    within = offered(factors, exact_limit, query, blocked, 100)
    assert len(after) == len(within) == 100
    assert not blocked[after].any()
    shared = len(np.intersect1d(after, within))
    assert shared >= (95 if exact_limit == 0 else 100)


def test_half_precision_finds_what_an_exact_search_does() -> None:
    rng = np.random.default_rng(0)
    factors, query = rng.normal(size=(3_000, 64)).astype(np.float32), rng.normal(size=(20, 64)).astype(np.float32)
    halves, info = build_index(factors, query, 1_000)
    assert info.kind == "fp16"
    assert 0.99 <= info.recall <= 1.0
    scores, items = halves.search(query, 10)
    assert np.allclose(scores, np.take_along_axis(query @ factors.T, items, axis=1), rtol=1e-2)


def test_a_graph_tells_its_recall_and_leaves_blocked_items_out() -> None:
    rng = np.random.default_rng(0)
    factors, query = rng.normal(size=(3_000, 8)).astype(np.float32), rng.normal(size=8).astype(np.float32)
    index, info = build_index(factors, rng.normal(size=(100, 8)).astype(np.float32), 1_000, 2_000)
    assert info.kind == "hnsw32"
    assert 0.9 <= info.recall <= 1.0
    assert index.hnsw.efSearch in SEARCH_WIDTHS
    blocked = rng.random(3_000) < 0.5
    found = offered(factors, 1_000, query, blocked, 100)
    assert len(found) == 100
    assert not blocked[found].any()
    free = np.flatnonzero(~blocked)
    exact = free[np.argsort(-(factors[free] @ query))][:100]
    assert len(np.intersect1d(found, exact)) >= 90


def test_a_graph_is_the_same_each_time_whatever_the_threads() -> None:
    factors = np.random.default_rng(0).normal(size=(3_000, 8)).astype(np.float32)
    first, second = (faiss.serialize_index(build_index(factors, factors[:100], 1_000, 2_000)[0]) for _ in range(2))
    assert np.array_equal(first, second)
