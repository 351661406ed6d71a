"""Item statistics as Postgres has them now, in arrays aligned with a bundle."""

from typing import Final

from features.contracts.ids import MISSING, IdMap
from features.contracts.statistics import NEVER_US, ItemStatistics, StatisticsState
from features.store import StatisticsRows

EVER_US: Final = NEVER_US
"""Asks for the rows of all buckets."""


class LiveStatistics:
    """The newest item statistics for a bundle: its own copy until rows that are newer have come in.

    Parameters
    ----------
    items
        The bundle's ids.
    own
        The bundle's own copy.
    """

    def __init__(self, items: IdMap, own: ItemStatistics) -> None:
        self.items = items
        self.current = own
        self.loaded = False
        self.closed_at_us = EVER_US
        self._own = own

    def is_news(self, rows: StatisticsRows) -> bool:
        """Return whether rows, read from `closed_at_us` on, tell of an edge that is not taken in yet."""
        return not self.loaded or rows.closed_at_us > self.closed_at_us

    def apply(self, rows: StatisticsRows) -> None:
        """Take in the rows of all items, and close at the newest edge that they know of."""
        self.loaded = True
        newest_us = rows.closed_at_us
        self.closed_at_us = max(self.closed_at_us, newest_us)
        if self._own.has_clock and newest_us >= self._own.closed_at_us:
            self.current = self._state_of(rows).at(newest_us)

    def _state_of(self, rows: StatisticsRows) -> StatisticsState:
        index = self.items.index_or_missing(rows.item_ids)
        known = index != MISSING
        state = StatisticsState.empty(len(self.items))
        state.put(index[known], rows.state.take(known))
        return state
