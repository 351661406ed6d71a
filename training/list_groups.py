"""What a ranker learns from logged lists: the items of a list as candidates, its clicks as labels.

A group's features are as of the start of the window that its list lies in: no click of the list, nor of a list beside
it in the window, is visible. Lists after the cut of a backtest are one more such window.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING, IdMap
from features.contracts.profiles import Options, Profiles
from features.contracts.spec import FeatureSpec
from features.items import ItemView
from features.list_features import Attributes, ListView, ShownRows, list_features, list_rows
from training.bundle.offered import SPEC
from training.bundle.recommender import Recommender
from training.bundle.sources import SOURCES
from training.data import Interactions
from training.groups import Group
from training.lists import groups

WINDOWS: Final = 5
"""Parts, by number of lists, that lists are cut into: the first is history only, the last is the later slice."""

Entries = npt.NDArray[np.int64]
"""Numbers of lists, ascending."""

_STRANGER: Final = Profiles(
    user_ids=("",),
    offsets=np.zeros(2, np.int64),
    item=np.empty(0, np.int32),
    weight=np.empty(0, np.float32),
    at_us=np.empty(0, np.int64),
    seen_offsets=np.zeros(2, np.int64),
    seen_item=np.empty(0, np.int32),
)


@dataclass(frozen=True, eq=False)
class LoggedLists:
    """Logged lists ordered by time.

    Attributes
    ----------
    users, items
        Ids behind the internal indices, of all lists.
    user
        int32 (n_lists,), whom each list was shown.
    at_us
        int64 (n_lists,), ascending, in the file's own times.
    offsets
        int64 (n_lists + 1,): list i owns the rows offsets[i]:offsets[i + 1].
    rows
        Items and clicks, in the order shown; `rows.entry` is the number of the list.
    position
        float32 (n_rows,), place from 1 at which an item was shown.
    frame_row
        int64 (n_rows,), where each row stands in the frame that it came from.
    """

    users: IdMap
    items: IdMap
    user: npt.NDArray[np.int32]
    at_us: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    rows: ShownRows
    position: npt.NDArray[np.float32]
    frame_row: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of lists."""
        return len(self.user)

    def of(self, entry: int) -> slice:
        """Return where the rows of a list stand."""
        return slice(int(self.offsets[entry]), int(self.offsets[entry + 1]))

    def windows(self, until_us: int, count: int = WINDOWS) -> list[tuple[int, Entries]]:
        """Return (start, lists) of windows of about equal numbers of lists before a time, without the first one.

        A window begins at a time: lists of one time are never parted.
        """
        end = int(np.searchsorted(self.at_us, until_us))
        starts = np.unique(self.at_us[[end * number // count for number in range(1, count)]]) if end else self.at_us[:0]
        edges = [*np.searchsorted(self.at_us, starts).tolist(), end]
        windows = zip(starts.tolist(), edges[:-1], edges[1:], strict=True)
        return [(start, np.arange(first, last)) for start, first, last in windows if first > 0]


@dataclass(frozen=True, eq=False)
class ListMoment:
    """What is known at the start of a window of lists.

    Attributes
    ----------
    begin_us
        The start, in the file's own times.
    recommender, items
        Fitted on nothing that lies in the window, and its ids.
    history
        Interactions before the window, in the recommender's items, on the clock of its statistics.
    """

    begin_us: int
    recommender: Recommender
    items: IdMap
    history: Interactions

    def known(self, user_ids: list[str]) -> tuple[dict[str, Profiles], ItemView]:
        """Return the profiles of those users who have any, by id, and the items' view: all just after the history."""
        until_us = int(self.history.at_us[-1]) + self.history.bucket_us
        users = self.history.users.index_or_missing(user_ids)
        asked = np.unique(np.append(users[users != MISSING], self.history.user[0]))  # one user at least
        moments = np.full(len(asked), until_us)
        batch = next(groups(self.history, asked, moments, self.recommender.plan.history_limit))
        profiles = {
            user_id: batch.profiles.take(np.array([row])) for row, user_id in enumerate(batch.profiles.user_ids)
        }
        return profiles, self.recommender.view(batch.statistics)


def list_spec(attributes: Attributes) -> FeatureSpec:
    """Return the columns of the rows of list groups: those of every ranker, then those that lists give."""
    return FeatureSpec((*SPEC.features, *list_features(attributes)))


def list_groups(lists: LoggedLists, entries: Entries, moment: ListMoment, attributes: Attributes) -> list[Group]:
    """Return the groups of some lists in their order, the items of each in the order shown.

    Parameters
    ----------
    lists
        All lists; those that begin before the moment are its history.
    entries
        Lists that begin at the moment or after it.
    attributes
        Of `lists.items`.
    """
    past = slice(0, int(lists.offsets[np.searchsorted(lists.at_us, moment.begin_us)]))
    view = ListView(lists.rows.take(past), attributes, len(lists.items))
    shown_to = _ByUser(lists.user[view.shown.entry], len(lists.users))
    user_ids = lists.users.external(lists.user[entries])
    profiles, item_view = moment.known(list(user_ids))
    of_moment = moment.items.index_or_missing(lists.items.external(np.arange(len(lists.items))))
    found = []
    for entry, user_id in zip(entries.tolist(), user_ids, strict=True):
        rows = lists.of(entry)
        items, clicked = lists.rows.item[rows], lists.rows.clicked[rows]
        base, ranks = _retrieved(moment.recommender, profiles.get(user_id, _STRANGER), item_view, of_moment[items])
        user = int(lists.user[entry])
        own = list_rows(view, view.shown.take(shown_to.rows(user)), items)
        gain = clicked.astype(np.float32)
        found.append(Group(np.hstack((base, own)), ranks, gain, int(clicked.sum()), lists.position[rows], user))
    return found


def _retrieved(
    recommender: Recommender, profile: Profiles, view: ItemView, items: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return feature rows and ranks of items as the recommender sees them, NaN for items that it lacks."""
    rows = np.full((len(items), len(SPEC)), np.nan, dtype=np.float32)
    ranks = np.full((len(items), len(SOURCES)), np.nan, dtype=np.float32)
    held = np.flatnonzero(items != MISSING)
    if len(held):
        options = Options(k=len(held), candidates=items[held], include_seen=True)
        found, values = recommender.candidates(profile, 0, view, options)
        at = np.searchsorted(found.items, items[held])
        rows[held], ranks[held] = values[at], found.ranks[at]
    return rows, ranks


@dataclass(frozen=True, eq=False)
class _ByUser:
    """Row numbers by user, of rows that name their user."""

    user: npt.NDArray[np.int32]
    n_users: int

    @cached_property
    def _order(self) -> tuple[Entries, Entries]:
        order = np.argsort(self.user, kind="stable")
        return order, np.searchsorted(self.user[order], np.arange(self.n_users + 1))

    def rows(self, user: int) -> Entries:
        """Return the rows of one user, ascending."""
        order, offsets = self._order
        return order[offsets[user] : offsets[user + 1]]
