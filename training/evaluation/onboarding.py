"""Onboarding, played through: users who were held out are shown items, like up to two, and get their first list.

Half of what a held-out user likes, drawn at random, answers: shown items among it are liked. The other half is what
the first list is judged on. What any of the ways shows to a user neither counts there nor comes back: it is no news
any more, and so all ways are judged on the same labels and the same catalogue.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.contracts.profiles import Options, Profiles
from features.contracts.ragged import offsets_of
from features.contracts.statistics import ItemStatistics
from training.bundle.onboarding import telling_items
from training.bundle.parts import Parts
from training.data import Interactions
from training.evaluation.resampling import Methods, estimate_all, estimate_methods
from training.judging import in_items_of
from training.metrics import Estimate, Floats, per_user
from training.split import new_liked_items

OURS: Final = "items that split tastes"
POPULAR: Final = "popular items"
RANDOM: Final = "random popular items"
NOTHING: Final = "no onboarding"

MOST_LIKES: Final = 2
"""Shown items that a user likes before asking for a list: drawn at random among those that answer."""
LEAST_LIKED: Final = 4
"""Items that a user must have liked: some to answer with, some to be judged on."""
RANDOM_AMONG: Final = 10
"""Random popular items are drawn among so many times as many of the most popular ones."""
_BATCH: Final = 256

Rows = npt.NDArray[np.int32]
Shown = Callable[[int], Rows]
"""Says which items, internal indices, the user of a number is shown."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Users whom training never saw: what they answer with, in a drawn order, and what they are judged on, int32."""

    answers: list[Rows]
    labels: list[Rows]

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self.answers)


@dataclass(frozen=True, eq=False)
class _Shown:
    """One user: the items shown, what answers, what is judged, and what all ways show."""

    items: Rows
    answers: Rows
    labels: Rows
    seen: Rows


@dataclass(frozen=True, slots=True)
class Onboarding:
    """How held-out users fare by what they were shown.

    Attributes
    ----------
    methods
        By way of choosing: list metrics, and `finds_1`, `finds_2`, the share of users who like so many of the items.
    gains
        Paired difference in NDCG@10 of `OURS` to each other way.
    """

    users: int
    k: int
    methods: Methods
    gains: dict[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "users": self.users,
            "k": self.k,
            "methods": {
                method: {name: entry.to_json() for name, entry in found.items()}
                for method, found in self.methods.items()
            },
            "gains": {method: entry.to_json() for method, entry in self.gains.items()},
        }


def hold_out_users(interactions: Interactions, share: float, seed: int) -> tuple[Interactions, Interactions]:
    """Return the rows of the users that stay, over their items, and of a share of users, over the same items."""
    users = np.unique(interactions.user)
    drawn = np.random.default_rng(seed).permutation(users)[: round(share * len(users))]
    out = np.isin(interactions.user, drawn)
    kept = interactions.take(np.flatnonzero(~out)).with_items_of_rows()
    return kept, in_items_of(interactions.take(np.flatnonzero(out)), kept.items)


def held_out_tastes(rows: Interactions, seed: int, most_users: int) -> HeldOut:
    """Return what held-out users like, drawn in two halves; those who like fewer than `LEAST_LIKED` are left out."""
    rng = np.random.default_rng(seed)
    everything = new_liked_items(rows.take(np.empty(0, np.int64)), rows, np.unique(rows.user))
    liked = [items for items in everything if len(items) >= LEAST_LIKED]
    chosen = np.sort(rng.permutation(len(liked))[:most_users])
    shuffled = [rng.permutation(liked[number]) for number in chosen.tolist()]
    halves = [np.split(items, [len(items) // 2]) for items in shuffled]
    return HeldOut([half[0] for half in halves], [np.sort(half[1]) for half in halves])


def judge_onboarding(parts: Parts, users: HeldOut, *, k: int, seed: int) -> Onboarding:
    """Return how users fare who like up to `MOST_LIKES` of the k items that each way shows them.

    Ways are `OURS`, the most popular items, random ones of these, and nothing; `parts` were fitted without these users.
    """
    statistics = parts.state.at(parts.closed_at_us, has_clock=parts.has_clock)
    ways = ways_to_choose(parts, statistics, k, seed)
    shown = {way: [choose(number) for number in range(len(users))] for way, choose in ways.items()}
    seen = [np.unique(np.concatenate(of_user)) for of_user in zip(*shown.values(), strict=True)]
    labels = [entry[~np.isin(entry, known)] for entry, known in zip(users.labels, seen, strict=True)]
    judged = [number for number, entry in enumerate(labels) if len(entry)]
    values = {
        way: _values(
            parts,
            statistics,
            [_Shown(items[number], users.answers[number], labels[number], seen[number]) for number in judged],
        )
        for way, items in shown.items()
    }
    first = next(iter(values))
    gains = {way: values[first]["ndcg@10"] - found["ndcg@10"] for way, found in values.items() if way != first}
    return Onboarding(len(judged), k, estimate_methods(values, seed), estimate_all(gains, seed))


def ways_to_choose(parts: Parts, statistics: ItemStatistics, k: int, seed: int) -> dict[str, Shown]:
    """Return the ways that are compared."""
    ours = telling_items(parts.fold_in.factors, statistics.count, k)
    popular = np.argsort(-statistics.count, kind="stable").astype(np.int32)
    nothing = np.empty(0, np.int32)

    def random(user: int) -> Rows:
        return np.random.default_rng((seed, user)).permutation(popular[: RANDOM_AMONG * k])[:k]

    return {OURS: lambda _: ours, POPULAR: lambda _: popular[:k], RANDOM: random, NOTHING: lambda _: nothing}


def _values(parts: Parts, statistics: ItemStatistics, users: list[_Shown]) -> dict[str, Floats]:
    """Return each user's metrics."""
    found = [user.answers[np.isin(user.answers, user.items)] for user in users]
    lists = _first_lists(parts, statistics, [items[:MOST_LIKES] for items in found], [user.seen for user in users])
    count = np.array([len(items) for items in found])
    finds = {f"finds_{n}": (count >= n).astype(np.float64) for n in (1, 2)}
    return per_user(lists, [user.labels for user in users]) | finds


def _first_lists(parts: Parts, statistics: ItemStatistics, liked: list[Rows], seen: list[Rows]) -> Rows:
    """Return the first lists of users who have liked some items just now, (n_users, 20)."""
    recommender, at_us = parts.recommender(), parts.closed_at_us
    options = Options(k=20, include_seen=False)
    lists = [np.empty((0, 20), np.int32)]
    for start in range(0, len(liked), _BATCH):
        profiles = just_liked(liked[start : start + _BATCH], seen[start : start + _BATCH], at_us)
        lists.append(recommender.recommend(profiles, statistics, at_us + 1, options).items)
    return np.concatenate(lists)


def just_liked(liked: list[Rows], seen: list[Rows], at_us: int) -> Profiles:
    """Return profiles of users who did nothing but like some items, all at one time; `seen` holds ascending indices."""
    item = np.concatenate([np.empty(0, np.int32), *liked])
    return Profiles(
        user_ids=tuple(str(number) for number in range(len(liked))),
        offsets=offsets_of([len(items) for items in liked]),
        item=item,
        weight=np.ones(len(item), np.float32),
        at_us=np.full(len(item), at_us, np.int64),
        seen_offsets=offsets_of([len(items) for items in seen]),
        seen_item=np.concatenate([np.empty(0, np.int32), *seen]),
    )
