"""What is known of items at a moment: counts and decayed sums, closed at the edges of time buckets."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US

HALF_LIVES_US: Final = tuple(int(hours * HOUR_US) for hours in (1, 6, 24, 96, 336, 1440, 5760, 17520))
"""Half-lives of the decayed sums in microseconds: an hour, 6 hours, 1, 4, 14, 60, 240 and 730 days."""
HALF_LIFE_NAMES: Final = ("1h", "6h", "1d", "4d", "14d", "60d", "240d", "730d")

BUCKET_US: Final = HOUR_US // 4
"""Width of a live bucket, 15 minutes: statistics move at its edges only."""

NEVER_US: Final = np.iinfo(np.int64).min
"""In `first_at_us` and `last_at_us`: no event yet."""


@dataclass(frozen=True, eq=False)
class ItemStatistics:
    """State of all items of a bundle, in its internal order, at the edge of a closed bucket.

    Attributes
    ----------
    closed_at_us
        The edge, microseconds since 1970 UTC: nothing known at or after it is in the numbers.
    count
        int64 (n_items,), events with a positive weight.
    decayed
        float64 (n_items, len(HALF_LIVES_US)), positive weights, each halved once per half-life up to the edge.
    first_at_us, last_at_us
        int64 (n_items,), edge of the first and of the latest bucket with an event; `NEVER_US` where none.
    has_clock
        False where times only order (virtual clock): hour and weekday are unknown then.
    """

    closed_at_us: int
    count: npt.NDArray[np.int64]
    decayed: npt.NDArray[np.float64]
    first_at_us: npt.NDArray[np.int64]
    last_at_us: npt.NDArray[np.int64]
    has_clock: bool = True

    @classmethod
    def empty(cls, n_items: int, closed_at_us: int, *, has_clock: bool = True) -> "ItemStatistics":
        """Return the statistics of items that no event has touched yet."""
        never = np.full(n_items, NEVER_US, dtype=np.int64)
        return cls(
            closed_at_us,
            np.zeros(n_items, dtype=np.int64),
            np.zeros((n_items, len(HALF_LIVES_US))),
            never,
            never.copy(),
            has_clock,
        )


def bucket_edge(at_us: int, width_us: int = BUCKET_US) -> int:
    """Return the newest bucket edge at or before an instant, both in microseconds since 1970 UTC."""
    return at_us - at_us % width_us


def decay_factors(elapsed_us: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return how much of a decayed sum is left after some microseconds: float64 (..., len(HALF_LIVES_US))."""
    elapsed = np.asarray(elapsed_us, dtype=np.float64)
    return np.exp2(-elapsed[..., None] / np.asarray(HALF_LIVES_US, dtype=np.float64))


@dataclass(slots=True)
class StatisticsState:
    """Running statistics of items, advanced bucket by bucket: what a replay and the stored rows have in common.

    An item's `decayed` stands at its own `last_at_us`; `at` brings all of them to one edge. A row of the table
    `item_statistics` is one item's state right after `add`, so that a replay of events and a read of the rows give
    the same floats.
    """

    count: npt.NDArray[np.int64]
    decayed: npt.NDArray[np.float64]
    first_at_us: npt.NDArray[np.int64]
    last_at_us: npt.NDArray[np.int64]

    @classmethod
    def empty(cls, n_items: int) -> "StatisticsState":
        """Return the state before any event."""
        none = ItemStatistics.empty(n_items, 0)
        return cls(none.count, none.decayed, none.first_at_us, none.last_at_us)

    def add(self, edge_us: int, item: npt.NDArray[np.int32], weight: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        """Take in one bucket's events and return the items whose state changed, ascending.

        Parameters
        ----------
        edge_us
            The edge at which the bucket closes; later than any edge added before.
        item, weight
            Internal index and preference weight of its events, by (known_at, event_id); weights <= 0 count for
            nothing.
        """
        liked = weight > 0
        touched, position = np.unique(item[liked], return_inverse=True)
        first = self.first_at_us[touched] == NEVER_US
        self.first_at_us[touched[first]] = edge_us
        self.last_at_us[touched[first]] = edge_us
        self.decayed[touched] *= decay_factors(edge_us - self.last_at_us[touched])
        sums = np.bincount(position, weight[liked].astype(np.float64), len(touched))
        self.decayed[touched] += sums[:, None]
        self.count[touched] += np.bincount(position, minlength=len(touched))
        self.last_at_us[touched] = edge_us
        return touched.astype(np.int32)

    def at(self, closed_at_us: int, *, has_clock: bool = True) -> ItemStatistics:
        """Return the statistics at an edge that is not before any edge added so far."""
        known = self.last_at_us != NEVER_US
        elapsed = np.where(known, closed_at_us - np.where(known, self.last_at_us, 0), 0)
        return ItemStatistics(
            closed_at_us,
            self.count.copy(),
            self.decayed * decay_factors(elapsed),
            self.first_at_us.copy(),
            self.last_at_us.copy(),
            has_clock,
        )
