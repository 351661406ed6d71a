"""Features that logged lists give: how items, their categories and each user did when they were shown.

Unlike clicks alone, lists also say what was shown and left: every number here is clicks *against* showings, so an item
that was shown and skipped counts as a negative signal, by item, by category and by user. Pure functions of lists before
a moment; NaN means unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.spec import Feature
from features.items import Categories

Floats = npt.NDArray[np.float64]

_ITEM_PRIOR: Final = 20.0
"""Showings at the average rate that every item starts with; a list of 24 items is about as much evidence."""
_FACET_PRIOR: Final = 50.0
"""The same for a category: it gathers the showings of many items."""
_USER_PRIOR: Final = 5.0
"""The same for one user's liking of a category: a user sees few lists."""


@dataclass(frozen=True, eq=False)
class ShownRows:
    """Items of logged lists, one row an item.

    Attributes
    ----------
    entry
        int64 (n,), the list that a row belongs to, ascending.
    item
        int32 (n,), internal index.
    clicked
        bool (n,).
    """

    entry: npt.NDArray[np.int64]
    item: npt.NDArray[np.int32]
    clicked: npt.NDArray[np.bool_]

    def take(self, rows: npt.NDArray[np.int64] | slice) -> "ShownRows":
        """Return some of the rows."""
        return ShownRows(self.entry[rows], self.item[rows], self.clicked[rows])

    @cached_property
    def surprise(self) -> Floats:
        """Return the click of each row less the click rate of its list: how the item did against its neighbours."""
        _, entry = np.unique(self.entry, return_inverse=True)
        rate = np.bincount(entry, self.clicked) / np.maximum(np.bincount(entry), 1)
        return self.clicked - rate[entry]


@dataclass(frozen=True, eq=False)
class Attributes:
    """What the catalogue says of items beside their text.

    Attributes
    ----------
    facets
        Named sets of values with repeats: categories, tags, makers ...
    names
        Of the numbers.
    numbers
        float64 (n_items, len(names)), each as its rank's share of the catalogue, 0..1; NaN unknown.
    """

    facets: Mapping[str, Categories]
    names: tuple[str, ...]
    numbers: Floats


def list_features(attributes: Attributes) -> tuple[Feature, ...]:
    """Return the columns of `list_rows`, in their order."""
    columns = [
        Feature("item_shown", "times the item was shown", "count", "lists"),
        Feature("item_ctr", "clicks over showings, drawn to the average rate", "0..1", "lists"),
        Feature("item_lift", "click less the list's click rate, mean over showings", "-1..1", "lists"),
        Feature("user_lists", "lists that the user was shown", "count", "lists"),
        Feature("user_ctr", "clicks over showings of the user", "0..1", "lists"),
        Feature("item_again", "click less the user's click rate when the user was shown this item", "-1..1", "lists"),
    ]
    for name in attributes.facets:
        columns += [
            Feature(f"facet_{name}_lift", f"lift of the item's {name}, mean", "-1..1", "lists"),
            Feature(f"facet_{name}_best", f"lift of the item's {name}, best", "-1..1", "lists"),
            Feature(f"facet_{name}_user", f"the user's own lift of the item's {name}, mean", "-1..1", "lists"),
        ]
    for name in attributes.names:
        columns += [
            Feature(
                f"number_{name}", f"share of the catalogue whose {name} is not above the item's", "0..1", "catalogue"
            ),
            Feature(f"number_{name}_gap", "the same less the mean over what the user clicked", "-1..1", "lists"),
        ]
    return tuple(columns)


@dataclass(frozen=True, eq=False)
class ListView:
    """Items as lists before one moment show them; computed once for all users.

    Attributes
    ----------
    shown
        All rows of lists before the moment.
    attributes
        Of all items.
    n_items
        Items that there are.
    """

    shown: ShownRows
    attributes: Attributes
    n_items: int

    @cached_property
    def items(self) -> Floats:
        """Return times shown, click rate and lift of each item: (n_items, 3)."""
        times = np.bincount(self.shown.item, minlength=self.n_items).astype(np.float64)
        clicks = np.bincount(self.shown.item, self.shown.clicked, self.n_items)
        overall = self.shown.clicked.mean() if len(self.shown.clicked) else np.nan
        rate = (clicks + _ITEM_PRIOR * overall) / (times + _ITEM_PRIOR)
        lift = np.bincount(self.shown.item, self.shown.surprise, self.n_items) / (times + _ITEM_PRIOR)
        return np.column_stack((times, rate, lift))

    @cached_property
    def facets(self) -> Floats:
        """Return mean and best lift over each facet of each item: (n_items, 2 * n_facets), NaN where it has none."""
        every = np.arange(self.n_items, dtype=np.int32)
        columns = np.full((self.n_items, 2 * len(self.attributes.facets)), np.nan)
        for number, facet in enumerate(self.attributes.facets.values()):
            lift = _lifts(facet, self.shown.item, self.shown.surprise, _FACET_PRIOR)
            owner, value = facet.of(every)
            some = facet.count > 0
            columns[some, 2 * number] = _means(owner, lift[value], self.n_items)[some]
            best = np.full(self.n_items, -np.inf)
            np.maximum.at(best, owner, lift[value])
            columns[some, 2 * number + 1] = best[some]
        return columns


def list_rows(view: ListView, user: ShownRows, items: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Return the columns of `list_features` for the items of one list, float32 (n, n_columns).

    Parameters
    ----------
    view
        Items at the moment.
    user
        What the list's user was shown before the moment.
    items
        int32 (n,), internal indices.
    """
    n_facets, attributes = len(view.attributes.facets), view.attributes
    rows = np.full((len(items), 6 + 3 * n_facets + 2 * len(attributes.names)), np.nan, dtype=np.float32)
    rows[:, :3] = view.items[items]
    rows[:, 3] = len(np.unique(user.entry))
    for number in range(n_facets):
        rows[:, 6 + 3 * number : 8 + 3 * number] = view.facets[items, 2 * number : 2 * number + 2]
    numbers = rows[:, 6 + 3 * n_facets :]
    numbers[:, ::2] = attributes.numbers[items]
    if not len(user.item):
        return rows
    rate = user.clicked.mean()
    surprise = user.clicked - rate
    rows[:, 4] = rate
    rows[:, 5] = _again(user.item, surprise, items)
    for number, facet in enumerate(attributes.facets.values()):
        lift = _lifts(facet, user.item, surprise, _USER_PRIOR)
        owner, value = facet.of(items)
        mean = _means(owner, lift[value], len(items))
        rows[:, 8 + 3 * number] = np.where(facet.count[items] > 0, mean, np.nan)
    numbers[:, 1::2] = numbers[:, ::2] - _known_means(attributes.numbers[user.item[user.clicked]])
    return rows


def _lifts(facet: Categories, item: npt.NDArray[np.int32], surprise: Floats, prior: float) -> Floats:
    """Return the lift of each value of a facet: surprise over showings, drawn to 0 by the prior."""
    owner, value = facet.of(item)
    size = len(facet.names)
    lift: Floats = np.bincount(value, surprise[owner], size) / (np.bincount(value, minlength=size) + prior)
    return lift


def _means(owner: npt.NDArray[np.int64], value: Floats, size: int) -> Floats:
    mean: Floats = np.bincount(owner, value, size) / np.maximum(np.bincount(owner, minlength=size), 1)
    return mean


def _again(shown: npt.NDArray[np.int32], surprise: Floats, items: npt.NDArray[np.int32]) -> Floats:
    """Return the mean surprise of each item among what was shown, NaN for items that were not."""
    known, position = np.unique(shown, return_inverse=True)
    mean = np.bincount(position, surprise) / np.bincount(position)
    at = np.minimum(np.searchsorted(known, items), len(known) - 1)
    return np.where(known[at] == items, mean[at], np.nan)


def _known_means(numbers: Floats) -> Floats:
    """Return the mean of each column over what is known of it, NaN where nothing is."""
    known = ~np.isnan(numbers)
    count = known.sum(axis=0)
    mean: Floats = np.where(count > 0, np.where(known, numbers, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
    return mean
