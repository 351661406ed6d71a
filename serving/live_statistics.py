"""Item statistics as Postgres has them now, in arrays aligned with a bundle."""

from typing import Final

import structlog

from features.contracts.ids import MISSING, IdMap
from features.contracts.statistics import NEVER_US, ItemStatistics, StatisticsState
from features.contracts.weights import ActionWeights
from features.store import StatisticsRows

log = structlog.get_logger(__name__)

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
    weights
        The action weights that the bundle was trained by: rows of others are not used, as their sums mean something
        else to its ranker.

    Attributes
    ----------
    current
        What serves now.
    loaded
        Whether rows have come in that may be used.
    other_weights
        Whether the rows are computed by other weights than the bundle's.
    closed_at_us
        The newest edge that rows have told of.
    """

    def __init__(self, items: IdMap, own: ItemStatistics, weights: ActionWeights) -> None:
        self.items = items
        self.current = own
        self.loaded = False
        self.other_weights = False
        self.closed_at_us = EVER_US
        self._own = own
        self._weights = weights

    def is_news(self, rows: StatisticsRows) -> bool:
        """Return whether rows, read from `closed_at_us` on, tell of an edge that is not taken in yet."""
        other = self._are_of_other_weights(rows)
        if other or self.other_weights:
            return other != self.other_weights
        return not self.loaded or rows.closed_at_us > self.closed_at_us

    def apply(self, rows: StatisticsRows) -> None:
        """Take in the rows of all items, and close at the newest edge that they know of."""
        newest_us = rows.closed_at_us
        self.closed_at_us = max(self.closed_at_us, newest_us)
        self.other_weights = self._are_of_other_weights(rows)
        self.loaded = not self.other_weights
        if self.other_weights:
            self.current = self._own
            log.warning("statistics_of_other_weights", do="train again: the bundle's own statistics serve until then")
        elif self._own.has_clock and newest_us >= self._own.closed_at_us:
            self.current = self._state_of(rows).at(newest_us)

    def _are_of_other_weights(self, rows: StatisticsRows) -> bool:
        """Return whether rows do not go with the bundle; before the first refresh there are none to do so."""
        return bool(rows.weights) and ActionWeights.from_json(rows.weights) != self._weights

    def _state_of(self, rows: StatisticsRows) -> StatisticsState:
        index = self.items.index_or_missing(rows.item_ids)
        known = index != MISSING
        state = StatisticsState.empty(len(self.items))
        state.put(index[known], rows.state.take(known))
        return state
