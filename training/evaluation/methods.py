"""What is compared: the line that serves, each candidate source alone, and their blend."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from training.bundle.fusion import reciprocal_ranks
from training.bundle.plan import BLEND
from training.bundle.recommender import Recommender
from training.bundle.result import Trace
from training.bundle.sources import POPULAR_PLANS, SOURCES, Offer

SERVED: Final = "marquee"
"""Name of the line that serves, among the methods."""
K: Final = 20
"""Length of the lists that are judged."""
TITLES: Final = {
    "popular": "popularity",
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
    BLEND: "blend of all sources",
}
"""Names for people; a source without one is called by its own name."""
_TIES: Final = 1e-6
"""Weight of the blend where it only breaks ties, as in `order_scores`."""


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
    return {TITLES.get(name, name): name for name in (*general, *personal, BLEND)}


def baseline_lists(names: Sequence[str], trace: Trace, own: Mapping[str, Offer]) -> dict[str, npt.NDArray[np.int32]]:
    """Return the first `K` items that each source (or the blend) alone puts before a user, by its name.

    The candidates in its order, others behind them by their blend; of a source in `own`, the items that it offers.
    """
    reciprocal = reciprocal_ranks(trace.ranks)
    scores = np.column_stack((reciprocal, np.zeros(len(reciprocal)))) + _TIES * reciprocal.sum(axis=1, keepdims=True)
    best = trace.candidates[np.argsort(-scores, axis=0, kind="stable")[:K]]
    column = {name: number for number, name in enumerate((*SOURCES, BLEND))}
    return {name: own[name].items[:K] if name in own else best[:, column[name]] for name in names}


def switched_off(names: Iterable[str], recommender: Recommender) -> list[str]:
    """Return those of the methods that are sources without a budget."""
    return [name for name in names if name != BLEND and not recommender.plan.budgets.get(name, 0)]
