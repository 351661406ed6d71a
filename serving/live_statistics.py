"""Item statistics as Postgres has them now, in arrays aligned with a bundle."""

from copy import copy
from typing import Final

import numpy as np
import structlog

from features.contracts.ids import MISSING, IdMap
from features.contracts.statistics import NEVER_US, ItemStatistics, StatisticsRows, StatisticsState
from features.contracts.weights import ActionWeights

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
        self._others = IdMap([])
        self._of_others = StatisticsState.empty(0)

    def grown(self, items: IdMap, own: ItemStatistics) -> "LiveStatistics":
        """Return the statistics of the same items and of those that were appended to them, as current as these.

        Parameters
        ----------
        items
            The ids of all of them.
        own
            The grown bundle's copy.
        """
        grown = LiveStatistics(items, own, self._weights)
        grown.loaded, grown.other_weights, grown.closed_at_us = self.loaded, self.other_weights, self.closed_at_us
        grown._others, grown._of_others = self._others, self._of_others  # one of this class
        if self.current is not self._own:
            grown.current = self._with_more(items)
        return grown

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

    def with_rows(self, rows: StatisticsRows) -> "LiveStatistics":
        """Return these statistics after they took in the rows of all items; they themselves stay as they are."""
        taken = copy(self)  # `apply` replaces arrays, and writes to none
        taken.apply(rows)
        return taken

    def _are_of_other_weights(self, rows: StatisticsRows) -> bool:
        """Return whether rows do not go with the bundle; before the first refresh there are none to do so."""
        return bool(rows.weights) and ActionWeights.from_json(rows.weights) != self._weights

    def _state_of(self, rows: StatisticsRows) -> StatisticsState:
        state, known = rows.aligned(self.items)
        self._others = IdMap([item_id for item_id, here in zip(rows.item_ids, known.tolist(), strict=True) if not here])
        self._of_others = rows.state.take(~known)
        return state

    def _with_more(self, items: IdMap) -> ItemStatistics:
        """Return the current statistics, and at the same edge those of the items that were appended."""
        more = items.external(np.arange(len(self.items), len(items)))
        found = self._others.index_or_missing(more)
        state, known = StatisticsState.empty(len(more)), found != MISSING
        state.put(np.flatnonzero(known), self._of_others.take(found[known]))
        own, appended = self.current, state.at(self.current.closed_at_us)
        arrays = {
            name: np.concatenate((getattr(own, name), getattr(appended, name))) for name in StatisticsState.names()
        }
        return ItemStatistics(closed_at_us=own.closed_at_us, has_clock=own.has_clock, **arrays)
