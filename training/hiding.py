"""A recommender that takes some items for new ones: how a ranker learns what a text is worth where all else is unknown.

Items that nobody has met yet, and that some user is about to meet, are few, and the same for all users of a moment: a
ranker would learn them by heart. So known items are taken for new ones, drawn for each user anew, so that no item is
always new: what a ranker learns is how far to trust texts, not which items were hidden. To the user who is asked for, a
hidden item looks as one that nobody ever met: it comes by its text alone, with factors from a map that was fitted
without it, and its features are those of an unmet item.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.profiles import Options, Profiles
from features.contracts.statistics import ItemStatistics
from features.items import ItemView
from training.bundle import loops
from training.bundle.affinities import affinities, affinity_features
from training.bundle.candidates import Candidates
from training.bundle.content import PROMISE, Content
from training.bundle.offered import SPEC
from training.bundle.parts import Parts
from training.bundle.plan import Plan
from training.bundle.recommender import Recommender
from training.bundle.sources import (
    FRESH,
    PROMISED,
    AlsSource,
    Among,
    Blocked,
    FreshSource,
    Offer,
    PromisedSource,
    Source,
    User,
)
from training.bundle.tables import NeighbourTable
from training.moments import Moment
from training.ridge import held_out, promised

_AFFINITIES: Final = slice(
    SPEC.names.index(affinity_features()[0].name), SPEC.names.index(affinity_features()[-1].name) + 1
)
_OF_ITEM: Final = slice(SPEC.names.index("popular_1h_rank"), SPEC.names.index("item_year"))
"""Columns that tell of an item's history: popularity, age, pace, shares."""
_PROMISE: Final = SPEC.names.index(PROMISE)
_POPULARITY_GAPS: Final = np.array([SPEC.names.index(name) for name in ("popularity_gap", "popularity_gap_5")])
_AGE_GAPS: Final = np.array([SPEC.names.index(name) for name in ("age_gap", "age_gap_5")])

Bools = npt.NDArray[np.bool_]
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Hiding:
    """A recommender that hides a share of the items, drawn by seed and user.

    Attributes
    ----------
    recommender
        Knows all items.
    content
        Their texts.
    promised
        float32 (n_items, n_factors + 1), what texts promise, of each item by a map that was fitted without it.
    share
        Of the items, 0 to 1.
    """

    recommender: Recommender
    content: Content
    promised: Singles
    share: float
    seed: int

    @classmethod
    def of(cls, parts: Parts, content: Content, share: float, seed: int) -> "Hiding":
        """Return the parts' recommender, hiding a share of its items."""
        wanted = promised(parts.fold_in.factors, parts.state.count)
        return cls(
            parts.recommender(), content, held_out(content.vectors, wanted, parts.state.count, seed=seed), share, seed
        )

    @property
    def plan(self) -> Plan:
        """Return the recommender's plan."""
        return self.recommender.plan

    def view(self, statistics: ItemStatistics) -> ItemView:
        """Return the items as they stand in some statistics, hidden ones too."""
        return self.recommender.view(statistics)

    def with_budgets(self, budgets: Mapping[str, int]) -> "Hiding":
        """Return the same with other budgets."""
        return replace(self, recommender=self.recommender.with_budgets(budgets))

    def candidates(self, profiles: Profiles, user: int, view: ItemView, options: Options) -> tuple[Candidates, Singles]:
        """Return one user's candidates and feature rows, as `Recommender.candidates` does."""
        hidden = self._hidden(profiles, user)
        found, rows = self._asking(hidden).candidates(profiles, user, view, options)
        self._blank(rows, found.items, hidden, view)
        return found, rows

    def offers(self, profiles: Profiles, user: int, view: ItemView, options: Options, limit: int) -> list[Offer]:
        """Return each source's offer to one user, as `Recommender.offers` does."""
        return self._asking(self._hidden(profiles, user)).offers(profiles, user, view, options, limit)

    def _hidden(self, profiles: Profiles, user: int) -> Bools:
        """Return which items are hidden from one user: none of the history, which tells as much when it is served."""
        hidden = self.hidden_from(profiles.user_ids[user])
        hidden[profiles.seen(user)] = False
        return hidden

    def hidden_from(self, user_id: str) -> Bools:
        """Return which items are hidden from a user who has none of them, bool (n_items,): such as have a text."""
        rng = np.random.default_rng([self.seed, zlib.crc32(user_id.encode())])
        return np.asarray(self.content.has_text & (rng.random(self.recommender.n_items) < self.share))

    def _asking(self, hidden: Bools) -> Recommender:
        """Return the recommender whose sources know hidden items by their texts alone, as they do unmet ones."""
        unmet = hidden | self.recommender.is_fresh
        items = np.flatnonzero(unmet).astype(np.int32)
        fresh = FreshSource(items, np.ascontiguousarray(self.promised[items, :-1]))
        told: dict[str, Source] = {FRESH: fresh, PROMISED: Among(self._by_promise, ~unmet)}
        sources = tuple(told.get(source.name) or _known(source, hidden, fresh) for source in self.recommender.sources)
        return replace(self.recommender, fresh=items, sources=sources)

    def _blank(self, rows: Singles, candidates: npt.NDArray[np.int32], hidden: Bools, view: ItemView) -> None:
        """Write into the rows of hidden candidates what those of an item without a history hold."""
        at = np.flatnonzero(hidden[candidates])
        rows[at, _OF_ITEM] = view.unmet_columns[: _OF_ITEM.stop - _OF_ITEM.start]
        rows[np.ix_(at, _POPULARITY_GAPS)] -= view.log_count[candidates[at], None].astype(np.float32)
        rows[np.ix_(at, _AGE_GAPS)] = np.nan
        rows[at, _AFFINITIES] = self._no_affinities
        rows[at, _PROMISE] = self.promised[candidates[at], -1]

    @cached_property
    def _by_promise(self) -> PromisedSource:
        """Return all items by what they promise: ordered once, whoever asks."""
        return PromisedSource.of(np.arange(self.recommender.n_items, dtype=np.int32), self.promised[:, -1])

    @cached_property
    def _no_affinities(self) -> Singles:
        """Return the columns of affinity of an item that is nobody's neighbour."""
        nobody = User(np.empty(0, np.int32), np.empty(0, np.float32), None)
        none = NeighbourTable.none(self.recommender.n_items)
        columns = affinities(nobody, np.zeros(1, np.int32), dict.fromkeys(self.recommender.tables, none))
        return columns.ravel()


def eligible_at(recommender: Recommender | Hiding, moment: Moment) -> Bools:
    """Return which items may be candidates at a moment, bool (n_items,): such as somebody had met.

    Where new items are to be offered and none is hidden, those are too that nobody had met: they are the truth to be
    validated on. Where some are hidden these stand for the new ones: all users of a moment meet the same few of the
    others, which would be learned by heart.
    """
    met = moment.met()
    if isinstance(recommender, Hiding) and not recommender.share:
        return met | (recommender.recommender.is_fresh & moment.published)
    return met


def _known(source: Source, hidden: Bools, fresh: FreshSource) -> Source:
    """Return a source as it would be if nobody had met the hidden items."""
    if isinstance(source, Among):
        return replace(source, others=source.others & ~hidden)  # texts are known of items that nobody met
    return _ByText(source, hidden, fresh) if isinstance(source, AlsSource) else _Without(source, hidden)


@dataclass(frozen=True, eq=False)
class _Without:
    """A source that offers no hidden item."""

    source: Source
    hidden: Bools

    @property
    def name(self) -> str:
        return self.source.name

    def offer(self, user: User, view: ItemView, blocked: Blocked, limit: int) -> Offer:
        return self.source.offer(user, view, blocked | self.hidden, limit)


@dataclass(frozen=True, eq=False)
class _ByText(_Without):
    """Nearest factors, those of hidden items by their texts; the index has those of unmet ones itself."""

    fresh: FreshSource

    def offer(self, user: User, view: ItemView, blocked: Blocked, limit: int) -> Offer:
        met = super().offer(user, view, blocked, limit)
        if user.vector is None:
            return met
        new = self.fresh.offer(user, view, blocked | ~self.hidden, limit)
        items, scores = np.concatenate((met.items, new.items)), np.concatenate((met.scores, new.scores))
        return Offer(*loops.top(items, scores, limit))
