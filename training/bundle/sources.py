"""Candidate sources: small classes with one interface, each offering a user's best items that are not blocked."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import faiss
import numpy as np
import numpy.typing as npt

from features.items import CATEGORY_TREND, POPULAR, TRENDS, ItemView, category_shares
from training.bundle import loops
from training.bundle.tables import NeighbourTable

Blocked = npt.NDArray[np.bool_]

CATEGORIES_READ: Final = 5
"""Categories, those liked most, in which `CategoryTrendSource` looks."""
REPEAT: Final = "repeat"
CONTENT: Final = "content"
FRESH: Final = "fresh"
PROMISED: Final = "fresh_popular"
BY_TEXT: Final = (CONTENT, FRESH, PROMISED)
"""Sources that read texts: asked for items without a history alone. Of others, who liked them tells more."""
REPEAT_DECAY: Final = 0.98
LEFT_OUT_AFTERWARDS: Final = 256
"""Blocked items, at most, that a search may find: to ask of each item whether it is one takes as long."""

# One thread-independent kernel for one query and for many: a batch gives the same floats as one by one.
faiss.cvar.distance_compute_blas_threshold = 1 << 30


@dataclass(frozen=True, slots=True)
class Offer:
    """What a source offers one user: internal indices, best first, and their scores (comparable within the offer)."""

    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float64]


NOTHING: Final = Offer(np.empty(0, np.int32), np.empty(0))


@dataclass(frozen=True, eq=False)
class User:
    """One user's history as a source reads it, newest first, in internal indices."""

    item: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float32]
    vector: npt.NDArray[np.float32] | None

    @cached_property
    def liked(self) -> npt.NDArray[np.int64]:
        """Return which events show liking, the newest first."""
        return np.flatnonzero(self.weight > 0)

    @cached_property
    def liked_items(self) -> npt.NDArray[np.int32]:
        """Return the items of these events."""
        return self.item[self.liked]

    @cached_property
    def liking(self) -> npt.NDArray[np.float64]:
        """Return the weights of these events."""
        return self.weight[self.liked].astype(np.float64)


class Source(Protocol):
    """A way to find candidates."""

    @property
    def name(self) -> str:
        """Name in answers, features and metrics."""
        ...

    def offer(self, user: User, view: ItemView, blocked: Blocked, limit: int) -> Offer:
        """Return up to `limit` items that are not blocked, best first."""
        ...


@dataclass(frozen=True, eq=False)
class AlsSource:
    """Nearest items to the folded-in user vector by inner product, from a FAISS index over the first of all items."""

    index: faiss.Index
    name: str = "als"

    def offer(self, user: User, view: ItemView, blocked: Blocked, limit: int) -> Offer:
        """Return the items of largest inner product.

        A few blocked ones are found and left out, which is quicker; many are left out inside the search.
        """
        del view
        if user.vector is None or not limit:
            return NOTHING
        of_index = self.index.ntotal
        blocked = blocked[:of_index]
        n_blocked = int(np.count_nonzero(blocked))
        selector = None
        if n_blocked > LEFT_OUT_AFTERWARDS:
            selector, n_blocked = faiss.IDSelectorBitmap(np.packbits(~blocked, bitorder="little")), 0
        size = min(limit + n_blocked, of_index)
        [scores], [items] = self.index.search(user.vector[None], size, params=self._parameters(selector))
        found = np.flatnonzero((items >= 0) & ~blocked[items])[:limit]
        return Offer(items[found].astype(np.int32), scores[found].astype(np.float64))

    def _parameters(self, selector: faiss.IDSelector | None) -> faiss.SearchParameters:
        if isinstance(self.index, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(sel=selector, efSearch=self.index.hnsw.efSearch)
        if isinstance(self.index, faiss.IndexIVF):
            return faiss.SearchParametersIVF(sel=selector, nprobe=self.index.nprobe)
        return faiss.SearchParameters(sel=selector)


@dataclass(frozen=True, eq=False)
class NeighbourSource:
    """Items that go with the user's latest liked items, by a neighbour table.

    The newest `window` liked events count, each `decay` times the one after it.
    """

    name: str
    table: NeighbourTable
    window: int
    decay: float

    def offer(self, user: User, view: ItemView, blocked: Blocked, limit: int) -> Offer:
        """Return the items with the largest sum of neighbour weights."""
        del view
        liking = user.liking[: self.window]
        if not len(liking):
            return NOTHING
        strength = liking * self.decay ** np.arange(len(liking))
        return Offer(*self.table.best(user.liked_items[: self.window], strength, blocked, limit))


@dataclass(frozen=True, eq=False)
class Among:
    """A source that is asked for some of the items only.

    Attributes
    ----------
    source
        Whom to ask.
    others
        bool (n_items,), what it is not to offer.
    """

    source: Source
    others: npt.NDArray[np.bool_]

    @property
    def name(self) -> str:
        """Return the source's name."""
        return self.source.name

    def offer(self, user: User, view: ItemView, blocked: Blocked, limit: int) -> Offer:
        """Return what the source offers of these items."""
        return self.source.offer(user, view, blocked | self.others, limit)


@dataclass(frozen=True, slots=True)
class CategoryTrendSource:
    """What trends in the categories that the user likes most."""

    name: str = "trend_category"

    def offer(self, user: User, view: ItemView, blocked: Blocked, limit: int) -> Offer:
        """Return the items with the largest trend, weighed by the user's share in their categories."""
        share = category_shares(user.item, user.weight, view.categories)
        if share is None:
            return NOTHING
        known = np.flatnonzero(share > 0)  # a few of perhaps thousands
        liked = known[np.argsort(-share[known], kind="stable")[:CATEGORIES_READ]]
        found = loops.best_trending(
            liked.astype(np.int32),
            share,
            view.heads,
            view.categories.entries,
            view.liking[CATEGORY_TREND],
            blocked,
            loops.scratch(len(blocked)).sums,
            limit,
        )
        return Offer(*found)


@dataclass(frozen=True, slots=True)
class RepeatSource:
    """What the user had before, often and lately first: only where items that were had may come back."""

    name: str = REPEAT

    def offer(self, user: User, view: ItemView, blocked: Blocked, limit: int) -> Offer:
        """Return items of the history by their weights, each event `REPEAT_DECAY` times the one after it."""
        del view
        free = np.flatnonzero((user.weight > 0) & ~blocked[user.item])
        if not len(free):
            return NOTHING
        items, position = np.unique(user.item[free], return_inverse=True)
        scores = np.bincount(position, user.weight[free] * REPEAT_DECAY**free, len(items))
        return Offer(*loops.top(items, np.asarray(scores, dtype=np.float64), limit))


@dataclass(frozen=True, eq=False)
class FreshSource:
    """Items without a history, by the factors that their texts promise.

    Attributes
    ----------
    items
        Internal indices, int32 (n,).
    factors
        float32 (n, n_factors).
    """

    items: npt.NDArray[np.int32]
    factors: npt.NDArray[np.float32]
    name: str = FRESH

    def offer(self, user: User, view: ItemView, blocked: Blocked, limit: int) -> Offer:
        """Return the items of largest inner product with the user's vector."""
        del view
        free = np.flatnonzero(~blocked[self.items])
        if user.vector is None or not len(free) or not limit:
            return NOTHING
        return Offer(*loops.top(self.items[free], (self.factors[free] @ user.vector).astype(np.float64), limit))


@dataclass(frozen=True, eq=False)
class PromisedSource:
    """Items without a history, the same for everyone: by the popularity that their texts promise.

    Attributes
    ----------
    items
        Internal indices, int32 (n,), best first.
    popularity
        Of these, float32 (n,), log of 1 + liking events.
    """

    items: npt.NDArray[np.int32]
    popularity: npt.NDArray[np.float32]
    name: str = PROMISED

    @classmethod
    def of(cls, items: npt.NDArray[np.int32], popularity: npt.NDArray[np.float32]) -> "PromisedSource":
        """Return the source of items in any order."""
        order = np.argsort(-popularity, kind="stable")
        return cls(items[order], popularity[order])

    def offer(self, user: User, view: ItemView, blocked: Blocked, limit: int) -> Offer:
        """Return the items of largest promise."""
        del user, view
        first = np.flatnonzero(~blocked[self.items])[:limit]
        return Offer(self.items[first], self.popularity[first].astype(np.float64))


@dataclass(frozen=True, slots=True)
class PopularSource:
    """The same items for everyone: by count over all time or by a decayed trend, as of the bucket's edge."""

    name: str
    order: int

    def offer(self, user: User, view: ItemView, blocked: Blocked, limit: int) -> Offer:
        """Return the most liked items with at least one liking event."""
        del user
        score = view.liking[self.order]
        items = loops.first_free(view.order_by[self.order], score, blocked, limit)
        return Offer(items, score[items])


@dataclass(frozen=True, slots=True)
class NeighbourPlan:
    """How a neighbour source reads its table."""

    table: str
    window: int
    decay: float


NEIGHBOUR_PLANS: Final[Mapping[str, NeighbourPlan]] = {
    "ease": NeighbourPlan("ease", 500, 1.0),
    "ease_recent": NeighbourPlan("ease", 20, 0.9),
    "similar": NeighbourPlan("similar", 500, 1.0),
    "similar_recent": NeighbourPlan("similar", 10, 0.85),
    "next_last": NeighbourPlan("next", 1, 1.0),
    "next_recent": NeighbourPlan("next", 20, 0.9),
    "near_recent": NeighbourPlan("near", 10, 0.8),
    "lately_recent": NeighbourPlan("lately", 20, 0.9),
    "category": NeighbourPlan("category", 10, 0.85),
    CONTENT: NeighbourPlan(CONTENT, 10, 0.85),
}
POPULAR_PLANS: Final[Mapping[str, int]] = {
    "popular": POPULAR,
    "trend_1d": TRENDS.index("1d"),
    "trend_14d": TRENDS.index("14d"),
    "trend_60d": TRENDS.index("60d"),
}
TRENDING: Final = ("trend_1d", "trend_14d", "trend_60d")
"""What a list of trends is made of, the latest first."""
PERSONAL: Final = ("als", *NEIGHBOUR_PLANS, "trend_category", REPEAT, FRESH, PROMISED)
"""Sources that read the user's history, and that of what texts promise; each gives the ranker two columns."""
SOURCES: Final = (*PERSONAL, *POPULAR_PLANS)
"""All sources, in the order of `source_names` of every bundle."""
BY_NO_ITEM: Final = (*POPULAR_PLANS, "trend_category", REPEAT, FRESH, PROMISED)
"""Those behind whose offers stands no single item that the user liked."""


def build_sources(
    index: faiss.Index,
    tables: Mapping[str, NeighbourTable],
    factors: npt.NDArray[np.float32],
    fresh: npt.NDArray[np.int32],
    popularity: npt.NDArray[np.float32],
) -> tuple[Source, ...]:
    """Return all sources in the order of `SOURCES`.

    Parameters
    ----------
    index
        Over the first rows of `factors`.
    tables
        Neighbour tables by name.
    factors
        Of all items, float32 (n_items, n_factors).
    fresh
        int32 (n,), the items without a history, the oldest first.
    popularity
        float32 (n,), what their texts promise of it.
    """
    neighbours: dict[str, Source] = {
        name: NeighbourSource(name, tables[plan.table], plan.window, plan.decay)
        for name, plan in NEIGHBOUR_PLANS.items()
    }
    is_fresh = np.zeros(len(factors), dtype=np.bool_)
    is_fresh[fresh] = True
    popular = (PopularSource(name, order) for name, order in POPULAR_PLANS.items())
    own = (
        CategoryTrendSource(),
        RepeatSource(),
        FreshSource(fresh, factors[fresh]),
        PromisedSource.of(fresh, popularity),
    )
    return (Among(AlsSource(index), is_fresh), *neighbours.values(), *own, *popular)
