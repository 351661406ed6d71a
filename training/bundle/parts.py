"""The parts of a bundle in memory, before they are written and after they are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import faiss
import numpy as np
import numpy.typing as npt

from features.contracts.facts import ItemFacts
from features.contracts.ids import IdMap
from features.contracts.statistics import StatisticsState
from features.contracts.weights import ActionWeights
from features.items import Categories
from training.bundle.content import Content
from training.bundle.foldin import FoldIn
from training.bundle.manifest import IndexInfo
from training.bundle.plan import Plan
from training.bundle.ranker import Ranker
from training.bundle.recommender import Recommender
from training.bundle.reference import Reference
from training.bundle.sources import NEIGHBOUR_PLANS, build_sources
from training.bundle.tables import NeighbourTable

TABLES: Final = tuple(dict.fromkeys(plan.table for plan in NEIGHBOUR_PLANS.values()))


@dataclass(frozen=True, eq=False)
class Parts:
    """Everything that a bundle holds.

    Attributes
    ----------
    items
        Ids of all items, in the internal order of every array here.
    fold_in
        Item factors and the shared part of the normal equations; those of items without a history come from their
        texts.
    index
        FAISS index over the factors, inner product; of the first items, where more have come since.
    fresh
        int32 (n,), items without a history (no event taught retrieval about them), the oldest first; none without
        `content`.
    tables
        Neighbour tables by name (`TABLES`).
    categories, facts
        Categories of the items, and what else the catalogue says of them.
    state, closed_at_us
        Item statistics of the training data and the bucket edge up to which they hold.
    ranker
        LightGBM models, or None where the plan orders by something else.
    fresh_ranker
        The same for items without a history.
    content
        The items' texts as numbers, None where no item has one.
    reference
        How the rows were spread that the ranker was validated on, None where that was not kept.
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
    fresh: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    content: Content | None = None
    fresh_ranker: Ranker | None = None
    reference: Reference | None = None

    def recommender(self) -> Recommender:
        """Return the recommender that these parts make."""
        popularity = np.empty(0, np.float32) if self.content is None else self.content.popularity[self.fresh]
        sources = build_sources(self.index, self.tables, self.fold_in.factors, self.fresh, popularity)
        return Recommender(
            len(self.items),
            self.fold_in,
            sources,
            self.tables,
            self.categories,
            self.facts,
            self.content,
            self.fresh,
            self.plan,
            self.ranker,
            self.fresh_ranker,
        )
