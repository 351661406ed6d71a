"""What items are right now (shown or not, titles, categories), in memory beside a bundle and aligned with its rows."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING, IdMap
from features.store import OVERLAP, ItemState

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ALWAYS: Final = np.iinfo(np.int64).min
_NEVER: Final = np.iinfo(np.int64).max


class ItemTable:
    """The states of a bundle's items; items without a known state count as visible.

    Written by one task at a time. The arrays handed out are never written again, so that they may go to other
    threads.

    Parameters
    ----------
    items
        The bundle's ids.
    """

    def __init__(self, items: IdMap) -> None:
        self.items = items
        self._newest: datetime | None = None
        self._read_at: datetime | None = None
        self._states: list[ItemState | None] = [None] * len(items)
        self._members: dict[str, set[int]] = {}
        self._hidden = np.zeros(len(items), dtype=np.bool_)
        self._from_us = np.full(len(items), _ALWAYS, dtype=np.int64)
        self._until_us = np.full(len(items), _NEVER, dtype=np.int64)
        self._visible: npt.NDArray[np.bool_] = np.ones(len(items), dtype=np.bool_)
        self._visible_from_us, self._visible_until_us = _ALWAYS, _ALWAYS

    @property
    def loaded(self) -> bool:
        """Return whether states were ever read for this table."""
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

    def apply(self, states: Iterable[ItemState], read_at: datetime) -> int:
        """Take in changed states and return how many of the bundle's items are different now.

        Parameters
        ----------
        states
            In any order, one per item.
        read_at
            When the read began.
        """
        changed = 0
        for state in states:
            self._newest = max(state.changed_at, self._newest or state.changed_at)
            row = int(self.items.index_or_missing([state.item_id])[0])
            if row != MISSING and self._states[row] != state:
                self._set(row, state)
                changed += 1
        self._read_at = read_at
        if changed:
            self._visible_until_us = _ALWAYS
        return changed

    def carried_to(self, items: IdMap) -> "ItemTable":
        """Return what is known here as a table for another bundle, to be read afresh as soon as possible."""
        table = ItemTable(items)
        for state in self._states:
            row = MISSING if state is None else int(items.index_or_missing([state.item_id])[0])
            if state is not None and row != MISSING:
                table._set(row, state)  # a table of this class
        return table

    def title(self, row: int) -> str | None:
        """Return the title of the item in a row, if known."""
        state = self._states[row]
        return None if state is None else state.title or None

    def visible(self, as_of_us: int) -> npt.NDArray[np.bool_]:
        """Return which items may be shown at a moment: published, not hidden, not expired; bool (n_items,)."""
        if not self._visible_from_us <= as_of_us < self._visible_until_us:
            self._compute_visible(as_of_us)
        return self._visible

    def in_categories(self, categories: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Return which items are in at least one of some categories; bool (n_items,)."""
        mask = np.zeros(len(self.items), dtype=np.bool_)
        for category in categories:
            rows = self._members.get(category)
            if rows:
                mask[np.fromiter(rows, dtype=np.int64, count=len(rows))] = True
        return mask

    def _set(self, row: int, state: ItemState) -> None:
        before = self._states[row]
        self._states[row] = state
        self._hidden[row] = state.hidden
        self._from_us[row] = _ALWAYS if state.published_at is None else _micros(state.published_at)
        self._until_us[row] = _NEVER if state.expires_at is None else _micros(state.expires_at)
        for category in () if before is None else before.categories:
            self._members[category].discard(row)
        for category in state.categories:
            self._members.setdefault(category, set()).add(row)

    def _compute_visible(self, as_of_us: int) -> None:
        """Compute the mask, and the span of time in which no item's publication or expiry changes it."""
        self._visible = ~self._hidden & (self._from_us <= as_of_us) & (as_of_us < self._until_us)
        edges = np.concatenate([self._from_us, self._until_us])
        self._visible_from_us = int(edges[edges <= as_of_us].max(initial=_ALWAYS))
        self._visible_until_us = int(edges[edges > as_of_us].min(initial=_NEVER))


def _micros(moment: datetime) -> int:
    """Return an aware moment as microseconds since 1970 UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
