"""What items are right now (shown or not, titles, categories), in memory, and as arrays beside any list of items."""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import IdMap
from features.contracts.times import to_us
from features.store import OVERLAP, ItemState
from serving.newest import Appearances, Rows

Mask = npt.NDArray[np.bool_]

_ALWAYS: Final = np.iinfo(np.int64).min
_NEVER: Final = np.iinfo(np.int64).max
_FIRST_SIZE: Final = 1024
_SLICE: Final = 20_000
"""Ids that are looked up at once, some 10 ms of the event loop."""


class ItemStates:
    """The states of all items that a server has heard of, a row each; what has no known state counts as visible.

    Rows are only ever added, so that tables over them stay true while bundles come and go. Used in the event loop
    alone, but for `get`, which other threads may ask meanwhile. The masks handed out are never written again, so that
    they may go to other threads, and another object says that something is different.

    Attributes
    ----------
    grouping
        Another object whenever items have other categories.
    """

    def __init__(self) -> None:
        self._row: dict[str, int] = {}
        self._states: list[ItemState | None] = []
        self._members: dict[str, set[int]] = {}
        self._appeared = Appearances()
        self._newest: datetime | None = None
        self._read_at: datetime | None = None
        self._known = np.zeros(_FIRST_SIZE, dtype=np.bool_)
        self._hidden = np.zeros(_FIRST_SIZE, dtype=np.bool_)
        self._deleted = np.zeros(_FIRST_SIZE, dtype=np.bool_)
        self._from_us = np.full(_FIRST_SIZE, _ALWAYS, dtype=np.int64)
        self._until_us = np.full(_FIRST_SIZE, _NEVER, dtype=np.int64)
        self._visible: Mask = np.ones(0, dtype=np.bool_)
        self._window = (_ALWAYS, _ALWAYS)
        self._asked_us = _ALWAYS
        self._existing: Mask | None = None
        self.grouping: object = object()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._states)

    @property
    def loaded(self) -> bool:
        """Return whether states were ever read."""
        return self._read_at is not None

    @property
    def changed_after(self) -> datetime | None:
        """Return the moment that the next read must be told; None = read everything.

        The store reads again from `OVERLAP` earlier. Once the newest change is older than that, its neighbours are
        not asked for again: after a bulk import they are many.
        """
        if self._newest is None or self._read_at is None:
            return None
        settled = self._read_at - self._newest > 2 * OVERLAP
        return self._newest + OVERLAP + timedelta(microseconds=1) if settled else self._newest

    def apply(self, states: Iterable[ItemState], read_at: datetime | None) -> int:
        """Take in changed states and return how many items are different now.

        Parameters
        ----------
        states
            In any order, one per item.
        read_at
            When the read began whose last states these are; None where more of it are to come.
        """
        changed = []
        for state in states:
            self._newest = max(state.changed_at, self._newest or state.changed_at)
            row = self._row_of(state.item_id)
            if self._states[row] != state:
                self._set(row, state)
                changed.append(row)
        if read_at is not None:
            self._read_at = read_at
        if changed:
            self._existing = None
            self._renew(np.array(changed))
        return len(changed)

    def rows_of(self, item_ids: Iterable[str]) -> npt.NDArray[np.int32]:
        """Return the rows of items, int32, in their order; what was not heard of before gets one."""
        return np.fromiter((self._row_of(item_id) for item_id in item_ids), dtype=np.int32)

    def state(self, row: int) -> ItemState | None:
        """Return the state of the item in a row, if known."""
        return self._states[row]

    def get(self, item_id: str) -> ItemState | None:
        """Return the state of an item, if known."""
        row = self._row.get(item_id)
        return None if row is None else self._states[row]

    def title(self, item_id: str) -> str | None:
        """Return the title of an item, if known."""
        state = self.get(item_id)
        return None if state is None else state.title or None

    def may_show(self, item_id: str, as_of_us: int) -> bool:
        """Return whether an item may be shown at a moment, as `visible` has it."""
        row = self._row.get(item_id)
        return row is None or bool(self.visible(as_of_us)[row])

    def categories(self, item_id: str) -> tuple[str, ...]:
        """Return the categories of an item, as far as known."""
        state = self.get(item_id)
        return () if state is None else state.categories

    def members(self, category: str) -> set[int]:
        """Return the rows of the items in a category."""
        return self._members.get(category, set())

    def in_categories(self, categories: Iterable[str]) -> Mask:
        """Return which items are in at least one of some categories; bool (n_rows,)."""
        mask = np.zeros(len(self), dtype=np.bool_)
        for category in dict.fromkeys(categories):
            members = self.members(category)
            mask[np.fromiter(members, dtype=np.int64, count=len(members))] = True
        return mask

    def newest_first(self) -> Rows:
        """Return the rows of all items whose state is known, int64, by when they appeared, newest first."""
        return self._appeared.newest_first()

    def known_rows(self, item_ids: Iterable[str]) -> Rows:
        """Return the rows of those of some items that were heard of, int64, in no order."""
        rows = (self._row.get(item_id, -1) for item_id in item_ids)
        return np.array([row for row in rows if row >= 0], dtype=np.int64)

    def visible(self, as_of_us: int) -> Mask:
        """Return which items may be shown at a moment: published, not hidden, not expired; bool (n_rows,)."""
        start, end = self._window
        self._asked_us = as_of_us
        if not start <= as_of_us < end:
            self._visible, self._window = self._seen_at(as_of_us, slice(len(self)))
        elif len(self._visible) != len(self):
            self._visible = self._extended()
        return self._visible

    def existing(self) -> Mask:
        """Return which items are not deleted, bool (n_rows,)."""
        if self._existing is None or len(self._existing) != len(self):
            self._existing = ~self._deleted[: len(self)]
        return self._existing

    def known(self, rows: npt.NDArray[np.int32]) -> Mask:
        """Return of the items of which rows the state was read, bool (n,)."""
        return self._known[rows]

    def _row_of(self, item_id: str) -> int:
        row = self._row.get(item_id)
        if row is None:
            row = len(self._states)
            if row == len(self._hidden):
                self._make_room()
            self._states.append(None)
            self._row[item_id] = row  # last: another thread that finds a row here goes and reads it
        return row

    def _make_room(self) -> None:
        size = len(self._hidden)
        self._known = np.concatenate((self._known, np.zeros(size, dtype=np.bool_)))
        self._hidden = np.concatenate((self._hidden, np.zeros(size, dtype=np.bool_)))
        self._deleted = np.concatenate((self._deleted, np.zeros(size, dtype=np.bool_)))
        self._from_us = np.concatenate((self._from_us, np.full(size, _ALWAYS, dtype=np.int64)))
        self._until_us = np.concatenate((self._until_us, np.full(size, _NEVER, dtype=np.int64)))

    def _set(self, row: int, state: ItemState) -> None:
        before = self._states[row]
        self._states[row] = state
        if state.told:
            self._appeared.note(row, to_us(state.appeared_at))
        self._known[row] = True
        self._hidden[row] = state.hidden
        self._deleted[row] = state.deleted
        self._from_us[row] = _ALWAYS if state.published_at is None else to_us(state.published_at)
        self._until_us[row] = _NEVER if state.expires_at is None else to_us(state.expires_at)
        categories = () if before is None else before.categories
        if categories == state.categories:
            return
        self.grouping = object()
        for category in categories:
            self._members[category].discard(row)
        for category in state.categories:
            self._members.setdefault(category, set()).add(row)

    def _renew(self, rows: npt.NDArray[np.int64]) -> None:
        """Bring the mask up to date in some rows: all of it is computed only where time has moved on."""
        start, end = self._window
        if not start <= self._asked_us < end:
            return
        visible = self._extended()
        visible[rows], window = self._seen_at(self._asked_us, rows)
        self._window = (max(start, window[0]), min(end, window[1]))
        if not np.array_equal(visible, self._visible):
            self._visible = visible

    def _extended(self) -> Mask:
        """Return a copy of the mask in which rows that came later, without a state, are visible."""
        visible = np.ones(len(self), dtype=np.bool_)
        visible[: len(self._visible)] = self._visible
        return visible

    def _seen_at(self, as_of_us: int, rows: npt.NDArray[np.int64] | slice) -> tuple[Mask, tuple[int, int]]:
        """Return the mask of some rows, and the span of time in which no publication or expiry of theirs changes it."""
        from_us, until_us = self._from_us[rows], self._until_us[rows]
        begun, over = from_us <= as_of_us, until_us <= as_of_us
        start = max(int(edges.max(initial=_ALWAYS)) for edges in (from_us[begun], until_us[over]))
        end = min(int(edges.min(initial=_NEVER)) for edges in (from_us[~begun], until_us[~over]))
        return ~self._hidden[rows] & begun & ~over, (start, end)


class ItemTable:
    """The states of some items, a bundle's or an index's, as arrays in their order.

    Parameters
    ----------
    states
        Of all items.
    items
        Whose states these are.
    rows
        Where they stand, `states.rows_of` their ids.
    """

    def __init__(self, states: ItemStates, items: IdMap, rows: npt.NDArray[np.int32]) -> None:
        self.states = states
        self.items = items
        self.rows = rows
        self._place = np.full(len(states), -1, dtype=np.int32)
        self._place[rows] = np.arange(len(rows), dtype=np.int32)
        self._whole: Mask | None = None
        self._visible: Mask = np.ones(len(rows), dtype=np.bool_)
        self._known: Mask = np.zeros(len(rows), dtype=np.bool_)

    @classmethod
    def of(cls, states: ItemStates, items: IdMap) -> "ItemTable":
        """Return the table of some items."""
        return cls(states, items, states.rows_of(items.external(np.arange(len(items)))))

    def grown(self, items: IdMap) -> "ItemTable":
        """Return the table of the same items and those that were appended to them."""
        more = self.states.rows_of(items.external(np.arange(len(self.rows), len(items))))
        return ItemTable(self.states, items, np.concatenate((self.rows, more)))

    @property
    def loaded(self) -> bool:
        """Return whether states were ever read."""
        return self.states.loaded

    def title(self, row: int) -> str | None:
        """Return the title of the item in a row, if known."""
        state = self.states.state(int(self.rows[row]))
        return None if state is None else state.title or None

    def visible(self, as_of_us: int) -> Mask:
        """Return which items may be shown at a moment: published, not hidden, not expired; bool (n_items,)."""
        whole = self.states.visible(as_of_us)
        if whole is not self._whole:
            self._visible, self._whole = whole[self.rows], whole
        return self._visible

    def existing(self) -> Mask:
        """Return which items are not deleted, bool (n_items,)."""
        return self.states.existing()[self.rows]

    def known(self) -> Mask:
        """Return of which items the state was read, bool (n_items,); what was read once stays known."""
        if not self._known.all():
            self._known = self.states.known(self.rows)
        return self._known

    def in_categories(self, categories: Iterable[str]) -> Mask:
        """Return which items are in at least one of some categories; bool (n_items,)."""
        mask = np.zeros(len(self.rows), dtype=np.bool_)
        for category in dict.fromkeys(categories):
            members = self.states.members(category)
            rows = np.fromiter(members, dtype=np.int64, count=len(members))
            places = self._place[rows[rows < len(self._place)]]
            mask[places[places >= 0]] = True
        return mask


async def table_of(states: ItemStates, items: IdMap) -> ItemTable:
    """Return the table of some items, made bit by bit so that requests are answered meanwhile."""
    rows = [np.empty(0, dtype=np.int32)]
    for start in range(0, len(items), _SLICE):
        rows.append(states.rows_of(items.external(np.arange(start, min(start + _SLICE, len(items))))))
        await asyncio.sleep(0)
    return ItemTable(states, items, np.concatenate(rows))
