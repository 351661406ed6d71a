"""The judging window: its users and labels, and what a model shows them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from training.bundle.bundle import Bundle
from training.catalogue import published_after
from training.data import Interactions
from training.evaluation.judged import Judged
from training.evaluation.methods import K
from training.evaluation.popularity import ItemPopularity, Lists, average_popularity
from training.gating.evidence import Model, Values
from training.judging import judged_after
from training.lists import recommend_all
from training.metrics import per_user
from training.split import known_before

Reads = Callable[[Bundle], Interactions]

_TOP = 10


@dataclass(frozen=True, eq=False)
class Listed:
    """What a model shows the judged users: lists in its bundle's items, and their values."""

    lists: Lists
    values: Values


@dataclass(frozen=True, eq=False)
class Window:
    """What comes after a time, of all of a run's data; perhaps nothing.

    Attributes
    ----------
    interactions
        The data as the run weighs them, by which users and labels are found.
    items_file
        The run's catalogue: what was published in the window, nobody can have shown when it began.
    reads
        Returns the same rows as a bundle weighs them; alike for every bundle by default.
    """

    interactions: Interactions
    start_us: int
    include_seen: bool = False
    items_file: Path | None = None
    reads: Reads | None = None

    @cached_property
    def own(self) -> Judged:
        """Return users and labels in the items of the data."""
        return self.judged(None)

    @cached_property
    def popularity(self) -> ItemPopularity:
        """Return how popular the items of the data were known to be before."""
        return ItemPopularity.of(self._before)

    @cached_property
    def history_length(self) -> npt.NDArray[np.int64]:
        """Return how many events of each judged user were known before, whatever a bundle knows of them."""
        return np.bincount(self._before.user, minlength=len(self.interactions.users))[self.own.users]

    @cached_property
    def judged(self) -> Callable[[Bundle | None], Judged]:
        """Return what returns users and labels in the items of a bundle, or of the data, found once for each.

        The users are the same for every bundle.
        """
        return cache(self._judged)

    def _judged(self, bundle: Bundle | None) -> Judged:
        if self.start_us > int(self.interactions.at_us[-1]):
            return Judged(self.interactions, np.empty(0, np.int32), np.empty(0, np.int64), [])
        found = partial(judged_after, self.interactions, self.start_us, include_seen=self.include_seen)
        if bundle is None:
            return found(self.interactions.items)
        late = published_after(self.items_file, bundle.items, self.start_us)
        return found(bundle.items, read=None if self.reads is None else self.reads(bundle), later=late)

    def shown_by(self, bundle: Bundle) -> Listed:
        """Return what a model shows the judged users today."""
        judged = self.judged(bundle)
        found = recommend_all(bundle.recommender, judged.history, judged.users, judged.as_of_us, judged.options(K))
        lists = found.items
        return Listed(lists, per_user(lists, judged.labels))

    def in_own_items(self, bundle: Bundle, lists: Lists) -> Lists:
        """Return a bundle's lists in the items of the data, `MISSING` where these do not hold an item."""
        return np.append(self._position(bundle), np.int32(MISSING))[lists]

    def model(self, bundle: Bundle, listed: Listed) -> Model:
        """Return what rules look at of a model that shows these lists."""
        top = listed.lists[:, :_TOP]
        return Model(
            values=listed.values,
            shown_items=len(np.unique(top[top != MISSING])),
            average_popularity=self._average_popularity(bundle, listed.lists),
            trained_until_us=bundle.manifest.trained_until_us,
            interactions=bundle.manifest.n_interactions,
            size_mb=sum(file.size for file in bundle.manifest.files.values()) / 1e6,
        )

    @cached_property
    def _before(self) -> Interactions:
        return self.interactions.take(known_before(self.interactions, self.start_us))

    def _position(self, bundle: Bundle) -> npt.NDArray[np.int32]:
        """Return where each item of a bundle stands in the data."""
        return self.interactions.items.index_or_missing(bundle.items.external(np.arange(len(bundle.items))))

    def _average_popularity(self, bundle: Bundle, lists: Lists) -> float:
        """Return the mean over users; an item that the data do not hold is known to nobody."""
        users = np.append(self.popularity.users, 0)[self._position(bundle)]
        of_each = average_popularity(lists, ItemPopularity(users, users, self.popularity.n_users))
        return float(np.nan_to_num(of_each).mean()) if len(of_each) else 0.0
