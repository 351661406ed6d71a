"""The parts of a bundle in memory, before they are written and after they are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import faiss
import numpy as np
import numpy.typing as npt

from features.contracts.facts import ItemFacts
from features.contracts.ids import IdMap
from features.contracts.statistics import StatisticsState
from features.contracts.weights import ActionWeights
from features.items import Categories
from training.bundle.foldin import FoldIn
from training.bundle.manifest import IndexInfo
from training.bundle.plan import Plan
from training.bundle.ranker import Ranker
from training.bundle.recommender import Recommender
from training.bundle.sources import NEIGHBOUR_PLANS, build_sources
from training.bundle.tables import NeighbourTable

EXACT_LIMIT: Final = 100_000
"""Items up to which search is exact; measured: a graph index is not faster there (DECISIONS.md)."""

TABLES: Final = tuple(dict.fromkeys(plan.table for plan in NEIGHBOUR_PLANS.values()))


@dataclass(frozen=True, eq=False)
class Parts:
    """Everything that a bundle holds.

    Attributes
    ----------
    items
        Ids of all items, in the internal order of every array here.
    fold_in
        Item factors and the shared part of the normal equations.
    index
        FAISS index over the factors, inner product.
    tables
        Neighbour tables by name (`TABLES`).
    categories, facts
        Categories of the items, and what else the catalogue says of them.
    state, closed_at_us
        Item statistics of the training data and the bucket edge up to which they hold.
    ranker
        LightGBM models, or None where the plan orders by something else.
    """

    items: IdMap
    fold_in: FoldIn
    index: faiss.Index
    index_info: IndexInfo
    tables: Mapping[str, NeighbourTable]
    categories: Categories
    facts: ItemFacts
    state: StatisticsState
    closed_at_us: int
    ranker: Ranker | None
    plan: Plan
    weights: ActionWeights
    trained_until_us: int
    bucket_us: int
    has_clock: bool
    n_users: int
    n_interactions: int

    def recommender(self) -> Recommender:
        """Return the recommender that these parts make."""
        sources = build_sources(self.index, self.tables)
        return Recommender(
            len(self.items), self.fold_in, sources, self.tables, self.categories, self.facts, self.plan, self.ranker
        )


def build_index(
    factors: npt.NDArray[np.float32], seed: int, exact_limit: int = EXACT_LIMIT
) -> tuple[faiss.Index, IndexInfo]:
    """Return a FAISS index over item factors (n_items, n_factors) and its kind with measured recall at 200.

    Exact up to `exact_limit` items, above it an HNSW graph.
    """
    n_items, n_factors = factors.shape
    if n_items <= exact_limit:
        index = faiss.IndexFlatIP(n_factors)
        index.add(factors)
        return index, IndexInfo("flat", 1.0)
    graph = faiss.IndexHNSWFlat(n_factors, 32, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = 80
    graph.hnsw.efSearch = 512
    graph.add(factors)
    return graph, IndexInfo("hnsw32", _recall(graph, factors, seed))


def _recall(index: faiss.Index, factors: npt.NDArray[np.float32], seed: int, k: int = 200) -> float:
    """Return the share of exact top-k items that the index finds, over 100 factor rows as queries."""
    exact = faiss.IndexFlatIP(factors.shape[1])
    exact.add(factors)
    queries = factors[np.random.default_rng(seed).choice(len(factors), 100, replace=False)]
    found, wanted = index.search(queries, k)[1], exact.search(queries, k)[1]
    return float(np.mean([len(np.intersect1d(f, w)) / k for f, w in zip(found, wanted, strict=True)]))
