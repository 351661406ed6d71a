"""Items without a history: how well they are ordered among themselves, for users of whom little or much is known.

Only such items may be recommended here, and only they are labels: what is measured is taste read from texts alone. The
floor is chance, the usual way out is to show the newest; popularity has nothing to go by.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from features.contracts.profiles import Options, Profiles
from training.bundle.recommender import Recommender
from training.bundle.result import Recommendations
from training.bundle.sources import CONTENT, FRESH, PROMISED, Offer
from training.data import Interactions
from training.evaluation.methods import SERVED
from training.evaluation.resampling import Methods, estimate_methods, methods_to_json
from training.lists import Group, recommend_all
from training.metrics import per_user
from training.split import new_liked_items

EVENTS: Final = (0, 1, 2, 5, None)
"""Latest events of each user that are read; None = all."""
K: Final = 20
MOST_USERS: Final = 2_000
"""Users judged, drawn at random where there are more."""
NEWEST: Final = "newest"
CHANCE: Final = "at random"
TITLES: Final = {FRESH: "text map to factors", PROMISED: "promised popularity", CONTENT: "nearest texts"}

Lists = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class ColdStage:
    """Metrics by method where so many of the users' latest events are read; None = all."""

    events: int | None
    methods: Methods

    def to_json(self) -> dict[str, Any]:
        """Return the stage as JSON values."""
        return {"events": self.events, "methods": methods_to_json(self.methods)}


@dataclass(frozen=True, slots=True)
class ColdItems:
    """How items without a history fare among themselves: the items, the users who liked some later, and the stages."""

    items: int
    users: int
    stages: list[ColdStage]

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {"items": self.items, "users": self.users, "stages": [stage.to_json() for stage in self.stages]}


def judge_cold_items(
    recommender: Recommender,
    history: Interactions,
    later: Interactions,
    users: npt.NDArray[np.int32],
    as_of_us: npt.NDArray[np.int64],
    *,
    seed: int,
) -> ColdItems:
    """Return how the recommender orders items without a history for users who liked some of them later.

    Parameters
    ----------
    history, later
        What was known before the cut, and what came after it, over the same items.
    users, as_of_us
        Whom to judge and when, (n_users,): those who liked such an item later count.
    """
    fresh = recommender.is_fresh
    labels = new_liked_items(history, later.take(np.flatnonzero(fresh[later.item])), users)
    some = np.flatnonzero([len(entry) > 0 for entry in labels])
    some = np.sort(np.random.default_rng(seed).permutation(some)[:MOST_USERS])
    wanted = [labels[row] for row in some.tolist()]
    stages = []
    for events in EVENTS if len(some) else ():
        profiles = history.profiles(users[some], recommender.plan.history_limit if events is None else events)
        lists = _lists(recommender, history, profiles, users[some], as_of_us[some], seed=seed)
        values = {method: per_user(items, wanted) for method, items in lists.items()}
        stages.append(ColdStage(events, estimate_methods(values, seed)))
    return ColdItems(int(fresh.sum()), len(some), stages)


def _lists(
    recommender: Recommender,
    history: Interactions,
    profiles: Profiles,
    users: npt.NDArray[np.int32],
    as_of_us: npt.NDArray[np.int64],
    *,
    seed: int,
) -> dict[str, Lists]:
    """Return the lists of every method, int32 (n_users, K)."""
    methods = (SERVED, *TITLES.values(), NEWEST, CHANCE)
    lists = {method: np.full((len(users), K), MISSING, dtype=np.int32) for method in methods}
    options = Options(k=K, eligible=recommender.is_fresh)
    rng = np.random.default_rng(seed)

    def see(group: Group, found: Recommendations) -> None:
        view = recommender.view(group.statistics)
        for row, position in enumerate(group.position.tolist()):
            offers = recommender.offers(group.profiles, row, view, options, K)
            free = recommender.fresh[~np.isin(recommender.fresh, group.profiles.seen(row))]
            own = {
                SERVED: found.items[row],
                **dict(_named(recommender, offers)),
                NEWEST: free[::-1][:K],
                CHANCE: rng.permutation(free)[:K],
            }
            for method, items in own.items():
                lists[method][position, : len(items)] = items

    recommend_all(recommender, history, users, as_of_us, options, profiles=profiles, see=see)
    return lists


def _named(recommender: Recommender, offers: list[Offer]) -> Iterator[tuple[str, Lists]]:
    """Yield what the sources that read texts offer, by their names for people."""
    for source, offer in zip(recommender.sources, offers, strict=True):
        if source.name in TITLES:
            yield TITLES[source.name], offer.items
