"""What the ranker of new items learns from and is validated on: the users of the other ranker, their unmet items."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.profiles import Options
from training.budgets import MOST, Offered, choose_budgets, users_for_budgets
from training.bundle.parts import Parts
from training.bundle.sources import BY_TEXT
from training.config import TrainingConfig
from training.group_file import GroupFile
from training.groups import Asked, Group, Rows, asked
from training.hiding import Bools, Hiding
from training.idle import idle_items
from training.moments import Moment
from training.retrieval import Training

LEAST_HIDDEN: Final = 0.1
"""Share of items that is hidden at least, however few of the catalogue have no history."""
MOST_HIDDEN: Final = 0.25
"""Largest share that is hidden, however many have none."""
MOST_DRAWS: Final = 3
ENOUGH_LISTS: Final = 4_000
"""Items are drawn several times for a user, up to `MOST_DRAWS`, where a slice has fewer lists to learn from than so."""
ENOUGH_NEW: Final = 0.01
"""Share of labels on items that nobody had met from which on these validate."""
CANDIDATES: Final = 40
"""Candidates without a history that a user gets on average, beside `TrainingConfig.candidates` others."""


@dataclass(frozen=True, eq=False)
class FreshSlices:
    """Groups of items without a history.

    Attributes
    ----------
    later
        One for each of the other ranker's groups of the latest slice, in their order.
    displaced
        For each of these, which of the other's candidates were taken for new ones here, bool (n_candidates,).
    earlier
        Groups of earlier slices, several of a user.
    budgets
        Candidates of each source.
    """

    later: GroupFile
    displaced: list[Bools]
    earlier: GroupFile
    budgets: Mapping[str, int]


@dataclass(eq=False)
class FreshMaker:
    """Makes `FreshSlices`, slice by slice, the latest first.

    Attributes
    ----------
    share
        Of the items, taken for new ones in each draw.
    by_hidden
        Whether hidden items validate; else such as nobody had met, which is the truth about new ones.
    idle
        Items that stand beside these, for they are there and nobody meets them, bool (n_items,).
    """

    config: TrainingConfig
    options: Options
    share: float
    by_hidden: bool
    idle: Bools
    budgets: Mapping[str, int] = field(default_factory=dict, init=False)
    _later: GroupFile = field(default_factory=GroupFile, init=False)
    _displaced: list[Bools] = field(default_factory=list, init=False)
    _earlier: GroupFile = field(default_factory=GroupFile, init=False)
    _hiding: tuple[Parts, Hiding] | None = field(default=None, init=False)

    @classmethod
    def of(
        cls, training: Training, moments: Sequence[Moment], config: TrainingConfig, options: Options
    ) -> "FreshMaker | None":
        """Return the maker for some moments; None where no ranker is to learn of new items.

        As many items are hidden as the catalogue has items that nobody met, within bounds.
        """
        if not _on(config):
            return None
        share = min(max(LEAST_HIDDEN, unmet_share(training)), MOST_HIDDEN)
        return cls(config, options, share, not truly_new(moments), idle_items(training, moments[0], config.seed))

    def add(
        self,
        parts: Parts,
        together: Sequence[Moment],
        moment: Moment,
        chosen: Rows,
        known: Sequence[npt.NDArray[np.int32] | None] | None,
    ) -> None:
        """Add the groups of some of a moment's users (positions).

        Parameters
        ----------
        parts, together
            Retrieval of the slice, and all its moments.
        known
            Of the latest slice, the items of the other ranker's groups of these users; None of others.
        """
        hiding = self._hiding_of(parts, together)
        if hiding is None:
            return
        if known is None:
            draws = max(ENOUGH_LISTS // max(len(chosen) * len(together), 1), 1)
            for one in asked(hiding.recommender, moment, chosen):
                for draw in range(min(draws, hiding.draws, MOST_DRAWS)):
                    drawn = hiding.hidden(one.user_id, draw)
                    new = _new(hiding, moment, drawn)
                    if new[one.labels].any():  # of other lists nothing is learned
                        self._earlier.append(self._group(hiding, one, drawn, new))
            return
        for one, items in zip(asked(hiding.recommender, moment, chosen), known, strict=True):
            hidden, new = self._validating(hiding, moment, one)
            self._later.append(self._group(hiding, one, hidden, new))
            candidates = np.empty(0, np.int32) if items is None else items
            self._displaced.append(np.zeros(len(candidates), bool) if hidden is None else hidden[candidates])

    def slices(self) -> FreshSlices | None:
        """Return what was added; None where texts were nowhere known."""
        if not (self._earlier and self._later):
            return None
        return FreshSlices(self._later, self._displaced, self._earlier, self.budgets)

    def _hiding_of(self, parts: Parts, together: Sequence[Moment]) -> Hiding | None:
        """Return what hides items of a slice, with the budgets that the first slice led to."""
        if parts.content is None:
            return None
        if self._hiding is None or self._hiding[0] is not parts:
            hiding = Hiding.of(parts, parts.content, self.share, self.config.seed)
            if not self.budgets:
                self.budgets = choose_budgets(self._offered(hiding, together), _on(self.config), CANDIDATES)
            self._hiding = parts, hiding.with_budgets(self.budgets)
        return self._hiding[1]

    def _offered(self, hiding: Hiding, moments: Sequence[Moment]) -> Iterator[Offered]:
        """Yield what sources offer of new items, and the labels among these."""
        for moment, chosen in users_for_budgets(moments, self.config.seed):
            for one in asked(hiding.recommender, moment, chosen):
                hidden, new = self._validating(hiding, moment, one)
                may = replace(self.options, eligible=new)
                whom = hiding.recommender if hidden is None else hiding.asking(hidden)
                offers = whom.offers(one.profiles, one.user, one.view, may, MOST, only=_on(self.config))
                yield offers, one.labels[new[one.labels]]

    def _validating(self, hiding: Hiding, moment: Moment, one: Asked) -> tuple[Bools | None, Bools]:
        """Return which items are hidden from a user by whom is validated, None if none are, and which are new."""
        hidden = hiding.hidden(one.user_id) if self.by_hidden else None
        new = _new(hiding, moment, hidden) | self.idle
        return None if hidden is None else hidden | self.idle, new

    def _group(self, hiding: Hiding, one: Asked, hidden: Bools | None, new: Bools) -> Group:
        where = one.profiles, one.user, one.view, replace(self.options, eligible=new)
        if hidden is None:
            return one.group(*hiding.recommender.fresh_candidates(*where), new)
        return one.group(*hiding.candidates(*where, hidden), new)


def _new(hiding: Hiding, moment: Moment, hidden: Bools | None) -> Bools:
    """Return which items are new at a moment: those hidden, of the known ones; without any, such as nobody had met."""
    return hiding.recommender.is_fresh & moment.published if hidden is None else hidden & moment.met


def _on(config: TrainingConfig) -> list[str]:
    return [name for name in config.sources_on(texts=True) if name in BY_TEXT]


def truly_new(moments: Sequence[Moment]) -> bool:
    """Return whether items that nobody had met were liked often enough, at moments that have a time, to validate on.

    Users who are cut by position meet items that all others know.
    """
    if not all(moment.has_time for moment in moments):
        return False
    labels = [np.empty(0, bool), *(~moment.met[entry] for moment in moments for entry in moment.labels)]
    return bool(np.concatenate(labels).mean() >= ENOUGH_NEW) if len(labels) > 1 else False


def unmet_share(training: Training) -> float:
    """Return the share of the catalogue that nobody has met."""
    met = training.interactions.met
    return 1 - int(met.sum()) / max(len(met), 1)
