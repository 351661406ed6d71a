"""Bundles of any size in minutes, of made-up content: as large and as mapped as trained ones, and of no use."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import faiss
import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from features.contracts.facts import ItemFacts
from features.contracts.ids import IdMap
from features.contracts.statistics import BUCKET_US, DAY_US, HALF_LIVES_US, StatisticsState
from features.contracts.weights import ActionWeights
from features.items import Categories
from training.bundle.foldin import FoldIn
from training.bundle.manifest import IndexInfo
from training.bundle.offered import SPEC
from training.bundle.parts import TABLES, Parts
from training.bundle.plan import Plan, default_budgets
from training.bundle.ranker import Ranker
from training.bundle.tables import NeighbourTable
from training.bundle.write import write_bundle
from training.index import HALVES_LIMIT, build_index

N_FACTORS: Final = 64
NEIGHBOURS: Final = 20
N_CATEGORIES: Final = 100
N_TREES: Final = 300
CLOSED_AT_US: Final = 20_000 * DAY_US


def write_made_up_bundle(folder: Path, n_items: int) -> str:
    """Write a bundle of items item-0, item-1 and so on without texts, and return its digest."""
    factors = np.random.default_rng(n_items).standard_normal((n_items, N_FACTORS), dtype=np.float32)
    gram = factors[:10_000].T @ factors[:10_000] + np.eye(N_FACTORS, dtype=np.float32)
    return write_bundle_around(folder, FoldIn(factors, gram, 10.0), *_index(factors))


def write_bundle_around(folder: Path, fold_in: FoldIn, index: faiss.Index, info: IndexInfo) -> str:
    """Write a bundle whose factors and index are given and all else is made up; return its digest."""
    n_items = len(fold_in.factors)
    rng, offsets = np.random.default_rng(n_items), np.arange(n_items + 1, dtype=np.int64)
    parts = Parts(
        items=IdMap([f"item-{number}" for number in range(n_items)]),
        fold_in=fold_in,
        index=index,
        index_info=info,
        tables={name: _neighbours(rng, n_items) for name in TABLES},
        categories=Categories(
            tuple(f"c{number}" for number in range(N_CATEGORIES)),
            offsets,
            (offsets[:-1] % N_CATEGORIES).astype(np.int32),
        ),
        facts=ItemFacts.unknown(n_items),
        state=_statistics(rng, n_items),
        closed_at_us=CLOSED_AT_US,
        ranker=_ranker(rng),
        plan=Plan(default_budgets()),
        weights=ActionWeights(),
        trained_until_us=CLOSED_AT_US,
        bucket_us=BUCKET_US,
        has_clock=True,
        n_users=1,
        n_interactions=1,
    )
    return write_bundle(folder, parts, created_at=datetime.now(UTC), code_version="made up", seed=0)


def _index(factors: npt.NDArray[np.float32]) -> tuple[faiss.Index, IndexInfo]:
    """Return an index as training would build it; a graph in haste, which finds less and weighs as much."""
    if len(factors) <= HALVES_LIMIT:
        return build_index(factors, factors[:1])
    index = faiss.IndexHNSWFlat(N_FACTORS, 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 16
    index.add(factors)
    return index, IndexInfo("hnsw32", 0.0)


def _neighbours(rng: np.random.Generator, n_items: int) -> NeighbourTable:
    others = rng.integers(n_items, size=n_items * NEIGHBOURS, dtype=np.int32)
    weights = np.tile(np.linspace(1, 0.1, NEIGHBOURS).astype(np.float16), n_items)
    return NeighbourTable(np.arange(n_items + 1, dtype=np.int64) * NEIGHBOURS, others, weights)


def _statistics(rng: np.random.Generator, n_items: int) -> StatisticsState:
    state = StatisticsState.empty(n_items)
    state.count = rng.integers(1, 1000, n_items)
    state.seen = 2 * state.count
    state.decayed = rng.random((n_items, len(HALF_LIVES_US))) * 100
    state.first_at_us = np.full(n_items, CLOSED_AT_US - 90 * DAY_US)
    state.last_at_us = CLOSED_AT_US - BUCKET_US * rng.integers(1, 1000, n_items)
    return state


def _ranker(rng: np.random.Generator) -> Ranker:
    rows, labels = rng.random((20_000, len(SPEC))), rng.random(20_000)
    options = {"objective": "regression", "num_leaves": 31, "verbose": -1, "num_threads": 1}
    return Ranker((lgb.train(options, lgb.Dataset(rows, labels), N_TREES),), (1.0,))
