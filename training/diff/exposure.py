"""What both versions put before people: which items and categories, how popular they are, and from which source."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from training.bundle.result import FILL, Recommendations
from training.diff.sides import Catalogue, Lists, Side, Together
from training.evaluation.methods import title_of
from training.evaluation.popularity import TOP, ItemPopularity, average_popularity, gini, novelty
from training.evaluation.resampling import estimate_all
from training.metrics import Estimate, coverage

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Leaning:
    """Which way the first ten places of a version's lists lean; means over users with intervals.

    Attributes
    ----------
    coverage
        Share of its own catalogue that stands there at all.
    items
        How many items that are.
    gini
        How unequally the places fall on the items of both versions: 0 = evenly.
    unmet
        Share of places that go to items nobody ever met.
    """

    coverage: float
    items: int
    gini: float
    unmet: float
    novelty: Estimate
    popularity: Estimate


@dataclass(frozen=True, slots=True)
class Shift:
    """One item or category: its title, and in how many lists, or what share of places, it stood and stands."""

    name: str
    first: float
    second: float

    @property
    def change(self) -> float:
        """Return by how much it went up."""
        return self.second - self.first


@dataclass(frozen=True, eq=False)
class Exposure:
    """What the first ten places of both versions hold.

    `shown` is how often each item stands there, int64 (n_items,); shifts are ordered by their size, largest first.
    """

    leanings: tuple[Leaning, Leaning]
    shown: tuple[Counts, Counts]
    items: list[Shift]
    categories: list[Shift]
    sources: list[Shift]


@dataclass(frozen=True, eq=False)
class Items:
    """The items of both versions: their places, what is said of them, and how popular they are."""

    together: Together
    catalogue: Catalogue
    popularity: ItemPopularity


def exposure_of(
    sides: tuple[Side, Side], found: tuple[Recommendations, Recommendations], items: Items, seed: int
) -> Exposure:
    """Return what two versions show to the same users."""
    lists = tuple(items.together.lists(one, number) for number, one in enumerate(found))
    n_items = len(items.together.ids)
    shown = tuple(np.bincount(_top(one), minlength=n_items) for one in lists)
    leanings = [_leaning(side, one, items.popularity, seed) for side, one in zip(sides, lists, strict=True)]
    return Exposure(
        leanings=(leanings[0], leanings[1]),
        shown=(shown[0], shown[1]),
        items=_items(shown[0], shown[1], items),
        categories=_categories(shown[0], shown[1], items.catalogue),
        sources=_shifts(*(_sources(side, one) for side, one in zip(sides, found, strict=True))),
    )


def _top(lists: Lists) -> npt.NDArray[np.int32]:
    places = lists[:, :TOP]
    found: npt.NDArray[np.int32] = places[places != MISSING]
    return found


def _leaning(side: Side, lists: Lists, popularity: ItemPopularity, seed: int) -> Leaning:
    top = _top(lists)
    found = estimate_all(
        {"novelty": novelty(lists, popularity), "popularity": average_popularity(lists, popularity)}, seed
    )
    return Leaning(
        coverage=coverage(lists, len(side.bundle.items), TOP),
        items=len(np.unique(top)),
        gini=gini(lists, len(popularity.users)),
        unmet=float((popularity.users[top] == 0).mean()) if len(top) else float("nan"),
        novelty=found["novelty"],
        popularity=found["popularity"],
    )


def _items(first: Counts, second: Counts, items: Items) -> list[Shift]:
    moved = np.flatnonzero(first != second)
    moved = moved[np.argsort(-np.abs(second - first)[moved], kind="stable")]
    titles = items.catalogue.named(items.together.ids, moved)
    return [
        Shift(title, float(first[item]), float(second[item]))
        for title, item in zip(titles, moved.tolist(), strict=True)
    ]


def _categories(first: Counts, second: Counts, catalogue: Catalogue) -> list[Shift]:
    """Return the share of all places whose item has a category; an item may have several."""
    found = catalogue.categories
    owner = np.repeat(np.arange(len(found.count)), found.count)
    shares = [
        np.bincount(found.index, shown[owner], minlength=len(found.names)) / max(shown.sum(), 1)
        for shown in (first, second)
    ]
    return _shifts(*(dict(zip(found.names, share.tolist(), strict=True)) for share in shares))


def _sources(side: Side, found: Recommendations) -> dict[str, float]:
    """Return the share of the first ten places by the source that ranked the item best."""
    names = [*(title_of(name) for name in side.bundle.source_names), FILL]
    place = found.items[:, :TOP] != MISSING
    counts = Counter(found.sources[:, :TOP][place].tolist())
    total = max(counts.total(), 1)
    return {names[source]: count / total for source, count in counts.items()}


def _shifts(first: dict[str, float], second: dict[str, float]) -> list[Shift]:
    names = dict.fromkeys([*first, *second])
    shifts = [Shift(name, first.get(name, 0.0), second.get(name, 0.0)) for name in names]
    return sorted((one for one in shifts if one.first or one.second), key=lambda one: (-abs(one.change), one.name))
