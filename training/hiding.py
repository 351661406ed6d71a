"""Known items taken for new ones: how a ranker learns what a text is worth where all else is unknown.

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
from features.items import ItemView
from training.bundle.affinities import affinities, affinity_features
from training.bundle.candidates import Candidates
from training.bundle.content import Content, texts_told_of, usual_of
from training.bundle.offered import SPEC
from training.bundle.parts import Parts
from training.bundle.recommender import Recommender
from training.bundle.sources import FRESH, PROMISED, FreshSource, PromisedSource, Source, User
from training.bundle.tables import NeighbourTable
from training.ridge import held_out, promised

_AFFINITIES: Final = slice(
    SPEC.names.index(affinity_features()[0].name), SPEC.names.index(affinity_features()[-1].name) + 1
)

VALIDATING: Final = 0.25
"""Share of the items that only validate; no more of all can be hidden at a time."""

Bools = npt.NDArray[np.bool_]
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Hiding:
    """A recommender to which, for each user, some other known items are the only ones without a history.

    Attributes
    ----------
    recommender
        Knows all items.
    content
        Their texts.
    promised
        float32 (n_items, n_factors + 1), what texts promise, of each item by a map that was fitted without it.
    share
        Of the items, hidden in each draw: 0 to 1.
    """

    recommender: Recommender
    content: Content
    promised: Singles
    share: float
    seed: int

    @classmethod
    def of(cls, parts: Parts, content: Content, share: float, seed: int) -> "Hiding":
        """Return what takes a share of the parts' items for new ones."""
        # Items without a history here may have been liked before the window: of these, no factors were learned.
        count = np.where(parts.fold_in.factors.any(axis=1), parts.state.count, 0)
        count[parts.fresh] = 0
        wanted = promised(parts.fold_in.factors, count)
        by_others = held_out(content.vectors, wanted, count, seed=seed)
        return cls(parts.recommender(), content, by_others, share, seed)

    def with_budgets(self, budgets: Mapping[str, int]) -> "Hiding":
        """Return the same with other budgets."""
        return replace(self, recommender=self.recommender.with_budgets(budgets))

    @property
    def draws(self) -> int:
        """Return how often items can be drawn to learn from, none of them twice for a user."""
        return int((1 - VALIDATING) / self.share)

    def hidden(self, user_id: str, draw: int | None = None) -> Bools:
        """Return which items a draw hides from a user, bool (n_items,): such as have a text, and in no other draw.

        Without a draw it is for validation, and the items are such as are never learned from: numbers such as the
        promised popularity tell items apart, and a ranker could know them again.
        """
        place = np.random.default_rng([self.seed, zlib.crc32(user_id.encode())]).random(self.recommender.n_items)
        if draw is None:
            return np.asarray(self.content.has_text & self._aside & (place < self.share / VALIDATING))
        width = self.share / (1 - VALIDATING)
        return np.asarray(self.content.has_text & ~self._aside & (place >= draw * width) & (place < (draw + 1) * width))

    def candidates(
        self, profiles: Profiles, user: int, view: ItemView, options: Options, hidden: Bools
    ) -> tuple[Candidates, Singles]:
        """Return the hidden ones among one user's candidates, as `Recommender.fresh_candidates` does."""
        found, rows = self.asking(hidden).fresh_candidates(profiles, user, view, options)
        rows[:, _AFFINITIES] = self._no_affinities
        return found, rows

    def asking(self, hidden: Bools) -> Recommender:
        """Return the recommender to which hidden items are those without a history."""
        items = np.flatnonzero(hidden).astype(np.int32)
        told: dict[str, Source] = {
            FRESH: FreshSource(items, np.ascontiguousarray(self.promised[items, :-1])),
            PROMISED: self._by_promise,
        }
        sources = tuple(told.get(source.name, source) for source in self.recommender.sources)
        return replace(self.recommender, fresh=items, sources=sources, content=self._by_others)

    @cached_property
    def _by_others(self) -> "_HeldOut":
        content = self.content
        usual = usual_of(self.promised[texts_told_of(content.has_text)])
        return _HeldOut(
            content.encoder, content.vectors, content.mapping, usual, content.until_us, promised=self.promised
        )

    @cached_property
    def _aside(self) -> Bools:
        """Return which items are kept for validation."""
        return np.asarray(np.random.default_rng(self.seed).random(self.recommender.n_items) < VALIDATING)

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


@dataclass(frozen=True, eq=False, kw_only=True)
class _HeldOut(Content):
    """Content that promises of each item what a map says that was fitted without it."""

    promised: Singles

    @cached_property
    def popularity(self) -> Singles:
        return self.promised[:, -1]

    def factors_of(self, items: npt.NDArray[np.int32]) -> Singles:
        return self.promised[items, :-1]
