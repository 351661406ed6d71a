"""Users whose first event is after the training cut: how soon their lists are worth something.

Each is judged just after the first, second, fifth and tenth event: the history is those events, the statistics hold
what had become known by then, later events included; retrieval and ranker stay those of the cut. The labels are what
the user liked after that, without the items of those events unless the bundle's plan offers such again. Items that
nobody had before the cut are counted apart; where the catalogue names them and they may be offered by their texts, they
are labels like all others.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from features.contracts.profiles import Options
from features.contracts.ragged import places
from training.bundle.recommender import Recommender
from training.bundle.result import Recommendations
from training.bundle.sources import POPULAR_PLANS
from training.data import Interactions
from training.evaluation.methods import SERVED, K, baseline_lists, title_of, too_short
from training.evaluation.popularity import Lists
from training.evaluation.resampling import Methods, bootstrap_ratios, estimate_methods, intervals, methods_to_json
from training.lists import Group, recommend_all
from training.metrics import Estimate, Floats, per_user
from training.split import new_liked_items

EVENTS: Final = (1, 2, 5, 10)
"""Events after which a new user is judged."""
MOST_USERS: Final = 2_000
"""Users judged at each of them, drawn at random where there are more."""

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Stage:
    """New users just after their first so many events: metrics by method, of all of them and of the lasting ones.

    `lasting` are those who are judged at every stage: only they can be compared from stage to stage.
    """

    events: int
    users: int
    methods: Methods
    lasting_users: int
    lasting: Methods

    def to_json(self) -> dict[str, Any]:
        """Return the stage as JSON values."""
        return {
            "events": self.events,
            "users": self.users,
            "methods": methods_to_json(self.methods),
            "lasting_users": self.lasting_users,
            "lasting": methods_to_json(self.lasting),
        }


@dataclass(frozen=True, slots=True)
class UnseenItems:
    """Later liking events on items that nobody had before the cut: their number, how many items, and their share."""

    events: int
    items: int
    share: Estimate

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {"events": self.events, "items": self.items, "share": self.share.to_json()}


@dataclass(frozen=True, slots=True)
class Newcomers:
    """New users stage by stage; none where the cut is not one in time, for then every user has a history."""

    users: int
    stages: list[Stage]
    unseen: UnseenItems
    unseen_of_newcomers: UnseenItems | None

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        own = self.unseen_of_newcomers
        return {
            "users": self.users,
            "stages": [stage.to_json() for stage in self.stages],
            "unseen_items": self.unseen.to_json(),
            "unseen_items_of_newcomers": own.to_json() if own is not None else None,
        }


@dataclass(frozen=True, eq=False)
class Start:
    """New users just after their first so many events.

    Attributes
    ----------
    users, as_of_us
        (n_users,): internal indices, and the microsecond after the last of those events became known.
    first
        Those events, of known items.
    labels
        Per user the known items liked after them, int32, at least one; with or without items of the events themselves.
    """

    users: npt.NDArray[np.int32]
    as_of_us: npt.NDArray[np.int64]
    first: Interactions
    labels: list[npt.NDArray[np.int32]]


def judge_newcomers(
    recommender: Recommender, history: Interactions, later: Interactions, *, by_time: bool, seed: int
) -> Newcomers:
    """Return how new users fare, and how much of what is liked later falls on items that nobody had before the cut.

    Parameters
    ----------
    history
        What was known before the cut; its items may be more than its rows touch, as a catalogue names them.
    later
        All later rows on the history's clock, over the same users, in item indices of their own.
    by_time
        Whether the cut is one in time: else nobody is new.
    """
    of_bundle = history.items.index_or_missing(later.items.external(np.arange(len(later.items))))
    known = of_bundle[later.item] != MISSING
    met = np.isin(of_bundle, history.item)[later.item]
    is_new = ~np.isin(later.user, history.user) & by_time
    own = later.take(np.flatnonzero(is_new))
    onto = replace(later, items=history.items, item=of_bundle[later.item])
    unseen = unseen_items(later, met, seed)
    if not len(own):
        return Newcomers(0, [], unseen, None)
    stages = _stages(recommender, _joined(history, onto.take(np.flatnonzero(known))), onto, is_new, seed)
    return Newcomers(len(np.unique(own.user)), stages, unseen, unseen_items(own, met[is_new], seed))


def unseen_items(later: Interactions, met: Bools, seed: int) -> UnseenItems:
    """Return how many later liking events fall on items that nobody had met before; interval over users.

    `met` says of each later row whether its item is none of them, bool (n,).
    """
    liked = later.weight > 0
    owner = np.unique(later.user[liked], return_inverse=True)[1]
    missed = ~met[liked]
    count = np.bincount(owner).astype(np.float64)[:, None]
    share = intervals(*bootstrap_ratios(np.bincount(owner, missed).astype(np.float64)[:, None], count, seed))[0]
    return UnseenItems(int(missed.sum()), len(np.unique(later.item[liked][missed])), share)


def place_in_turn(rows: Interactions) -> npt.NDArray[np.int64]:
    """Return for each row which of its user's rows it is, from 0, int64 (n,)."""
    order, offsets = rows.by_user
    place = np.empty(len(order), dtype=np.int64)
    place[order] = places(np.diff(offsets))
    return place


def start_after(
    own: Interactions, place: npt.NDArray[np.int64], events: int, seed: int, *, include_seen: bool = False
) -> Start:
    """Return the new users who can be judged just after so many events, at most `MOST_USERS`.

    `own` holds all rows of new users, `MISSING` for items that are not known; `place` is `place_in_turn` of them.
    Items of the first events are labels only with `include_seen`.
    """
    known = own.item != MISSING
    first = own.take(np.flatnonzero(known & (place < events)))
    rest = own.take(np.flatnonzero(known & (place >= events)))
    last = own.take(np.flatnonzero(place == events - 1))
    as_of_us = np.zeros(len(own.users), dtype=np.int64)
    as_of_us[last.user] = last.known_us + 1
    users = np.unique(last.user).astype(np.int32)
    labels = new_liked_items(first, rest, users, include_seen=include_seen)
    some = np.array([row for row, entry in enumerate(labels) if len(entry)], dtype=np.int64)
    some = np.sort(np.random.default_rng(seed).permutation(some)[:MOST_USERS])
    return Start(users[some], as_of_us[users[some]], first, [labels[row] for row in some.tolist()])


def _stages(
    recommender: Recommender, everything: Interactions, later: Interactions, is_new: Bools, seed: int
) -> list[Stage]:
    own = later.take(np.flatnonzero(is_new))
    place = place_in_turn(own)
    again = not recommender.plan.exclude_seen  # lists follow the plan, and so have labels
    starts = {n: start_after(own, place, n, seed, include_seen=again) for n in EVENTS}
    judged = {n: _after(recommender, everything, start) for n, start in starts.items()}
    judged = {n: found for n, found in judged.items() if len(found[0])}
    everyone = [set(users.tolist()) for users, _ in judged.values()]
    lasting = np.array(sorted(set.intersection(*everyone)) if everyone else [], dtype=np.int32)
    stages = []
    for n, (users, values) in judged.items():
        stays = np.isin(users, lasting)
        kept = {method: {name: entry[stays] for name, entry in found.items()} for method, found in values.items()}
        stages.append(
            Stage(
                n,
                len(users),
                estimate_methods(values, seed),
                int(stays.sum()),
                estimate_methods(kept, seed) if stays.any() else {},
            )
        )
    return stages


def _after(
    recommender: Recommender, everything: Interactions, start: Start
) -> tuple[npt.NDArray[np.int32], dict[str, dict[str, Floats]]]:
    """Return the users of a start and their metrics by method."""
    lists = _lists(recommender, everything, start)
    return start.users, {method: per_user(items, start.labels) for method, items in lists.items()}


def _lists(recommender: Recommender, everything: Interactions, start: Start) -> dict[str, Lists]:
    """Return the served lists of the users of a start, and those of every kind of popularity, by method."""
    general = {title_of(name): name for name in POPULAR_PLANS}
    lists = {method: np.full((len(start.users), K), MISSING, dtype=np.int32) for method in (SERVED, *general)}
    options = Options(k=K)
    short = too_short(general.values(), recommender)

    def see(group: Group, found: Recommendations) -> None:
        lists[SERVED][group.position] = found.items
        view = recommender.view(group.statistics)
        popular = recommender.popular(group.profiles, group.statistics, options).items
        for row, position in enumerate(group.position.tolist()):
            offers = recommender.offers(group.profiles, row, view, options, K, only=short)
            own = {s.name: offer for s, offer in zip(recommender.sources, offers, strict=True) if s.name in short}
            tops = baseline_lists(tuple(general.values()), found.traces[row], own, popular[row])
            for method, name in general.items():
                lists[method][position, : len(tops[name])] = tops[name]

    profiles = start.first.profiles(start.users, recommender.plan.history_limit)
    recommend_all(recommender, everything, start.users, start.as_of_us, options, profiles=profiles, see=see)
    return lists


def _joined(history: Interactions, later: Interactions) -> Interactions:
    both = ((field.name, getattr(history, field.name), getattr(later, field.name)) for field in fields(Interactions))
    columns: dict[str, Any] = {name: np.concatenate((a, b)) for name, a, b in both if isinstance(a, np.ndarray)}
    return replace(history, **columns)
