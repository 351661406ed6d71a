"""How popular items were in what a bundle learned from, and how far lists lean on the popular ones."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from training.data import Interactions
from training.metrics import Floats

Lists = npt.NDArray[np.int32]

TOP = 10
"""Places of a list that are looked at, as in the other metrics of short lists."""


@dataclass(frozen=True, eq=False)
class ItemPopularity:
    """Counts of a catalogue: `interactions` and distinct `users` of each item, int64 (n_items,), of `n_users` users."""

    interactions: npt.NDArray[np.int64]
    users: npt.NDArray[np.int64]
    n_users: int

    @classmethod
    def of(cls, history: Interactions) -> "ItemPopularity":
        """Return the popularity of all items in a history."""
        n_items = len(history.items)
        pairs = np.unique(history.user.astype(np.int64) * max(n_items, 1) + history.item)
        return cls(
            np.bincount(history.item, minlength=n_items),
            np.bincount(pairs % max(n_items, 1), minlength=n_items),
            len(np.unique(history.user)),
        )

    @cached_property
    def head(self) -> npt.NDArray[np.bool_]:
        """Return which items are head: the fewest, most popular ones, that make half of the interactions.

        >>> counts = np.array([1, 5, 1, 2])
        >>> ItemPopularity(counts, counts, 9).head
        array([False,  True, False, False])
        """
        order = np.argsort(-self.interactions, kind="stable")
        before = np.cumsum(self.interactions[order]) - self.interactions[order]
        head = np.zeros(len(order), dtype=bool)
        head[order] = 2 * before < self.interactions.sum()
        return head

    @cached_property
    def share(self) -> Floats:
        """Return the share of users who had each item, float64 (n_items,)."""
        return self.users / max(self.n_users, 1)


def novelty(lists: Lists, popularity: ItemPopularity) -> Floats:
    """Return the mean self-information of each list's first items: -log2 of the share of users who had the item.

    NaN for an empty list; an item that nobody had counts as if one user had.
    """
    share = np.maximum(popularity.users, 1) / max(popularity.n_users, 1)
    return _mean_of(lists, -np.log2(share))


def average_popularity(lists: Lists, popularity: ItemPopularity) -> Floats:
    """Return the mean share of users who had what stands in each list's first places."""
    return _mean_of(lists, popularity.share)


def gini(lists: Lists, n_items: int) -> float:
    """Return how unequally the first places of all lists fall on the catalogue: 0 = evenly, 1 = all on one item.

    >>> gini(np.array([[0, 1], [2, 3]], np.int32), 4), gini(np.array([[0], [0]], np.int32), 2)
    (0.0, 0.5)
    """
    shown = lists[:, :TOP]
    counts = np.sort(np.bincount(shown[shown != MISSING], minlength=n_items))
    if not counts.sum():
        return float("nan")
    weight = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float((weight * counts).sum() / (n_items * counts.sum()))


def _mean_of(lists: Lists, value: Floats) -> Floats:
    shown = lists[:, :TOP]
    known = shown != MISSING
    sums = np.where(known, value[np.where(known, shown, 0)], 0.0).sum(axis=1)
    count = known.sum(axis=1)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)
