"""What is compared: the line that serves, each candidate source alone, and their blend."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from training.bundle.fusion import reciprocal_ranks
from training.bundle.plan import BLEND
from training.bundle.recommender import Recommender
from training.bundle.result import Trace
from training.bundle.sources import POPULAR_PLANS, SOURCES, Offer

SERVED: Final = "marquee"
"""Name of the line that serves, among the methods."""
K: Final = 20
"""Length of the lists that are judged."""
POPULAR: Final = "popular"
TITLES: Final = {
    POPULAR: "popularity",
    "trend_1d": "recent popularity (1 day)",
    "trend_14d": "recent popularity (14 days)",
    "trend_60d": "recent popularity (60 days)",
    "trend_category": "trend in liked categories",
    "als": "ALS",
    "similar": "item to item",
    "similar_recent": "item to item, latest items",
    "next_last": "next after the last item",
    "next_recent": "next item",
    "near_recent": "items liked near each other",
    "lately_recent": "next item, lately",
    "category": "items of the same categories",
    "repeat": "had before",
    "ease": "EASE",
    "ease_recent": "EASE, latest items",
    "content": "nearest texts",
    "fresh": "new items by taste",
    "fresh_popular": "new items by promise",
    BLEND: "blend of all sources",
}
"""Names for people; a source without one is called by its own name."""


def title_of(name: str) -> str:
    """Return what people call a source, the blend or the ranker.

    >>> title_of("trend_1d"), title_of("ranker")
    ('recent popularity (1 day)', 'ranker')
    """
    return TITLES.get(name, name)


def baselines(recommender: Recommender) -> dict[str, str]:
    """Return every source that is on and their blend by the name for people; those of no user's taste first.

    Kinds of popularity are compared with even where they are off: they need nobody's history.
    """
    budgets = recommender.plan.budgets
    names = [
        source.name for source in recommender.sources if budgets.get(source.name, 0) or source.name in POPULAR_PLANS
    ]
    general = [name for name in names if name in POPULAR_PLANS]
    personal = [name for name in names if name not in POPULAR_PLANS]
    return {title_of(name): name for name in (*general, *personal, BLEND)}


def baseline_lists(
    names: Sequence[str], trace: Trace, own: Mapping[str, Offer], popular: npt.NDArray[np.int32]
) -> dict[str, npt.NDArray[np.int32]]:
    """Return the first `K` items that each source (or the blend) alone puts before a user, by its name.

    Behind the end of its order stands what is `popular`, as serving fills a list up: nothing that others know of the
    user's taste.

    Parameters
    ----------
    trace
        Of the user: the candidates in the order of each source that ranks at least `K` of them.
    own
        What a source offers whose candidates are too few (`too_short`).
    popular
        int32 (K or more,), what the user may get of it as `Recommender.popular` has it, `MISSING` behind its end.
    """
    reciprocal = reciprocal_ranks(trace.ranks)
    scores = np.column_stack((reciprocal, reciprocal.sum(axis=1)))
    order = np.argsort(-scores, axis=0, kind="stable")[:K]
    ranked = (np.take_along_axis(scores, order, axis=0) > 0).sum(axis=0)
    column = {name: number for number, name in enumerate((*SOURCES, BLEND))}
    lists = {
        name: own[name].items[:K] if name in own else trace.candidates[order[: ranked[place], place]]
        for name, place in column.items()
        if name in names
    }
    return {name: _filled(lists[name], popular) for name in names}


def too_short(names: Iterable[str], recommender: Recommender) -> list[str]:
    """Return those of the methods that are sources which may propose fewer than `K` candidates, or none."""
    return [name for name in names if name != BLEND and recommender.plan.budgets.get(name, 0) < K]


def _filled(items: npt.NDArray[np.int32], popular: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    if len(items) >= K:
        return items
    more = popular[(popular != MISSING) & ~np.isin(popular, items)]
    return np.concatenate((items, more[: K - len(items)]))
