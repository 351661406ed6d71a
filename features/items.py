"""Items as features and candidate sources see them at one moment: statistics, categories, facts, orders of these."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from features import loops
from features.compiled import Lists, read_only
from features.contracts.facts import ItemFacts
from features.contracts.ragged import entries_of, offsets_of, places
from features.contracts.statistics import DAY_US, HALF_LIFE_NAMES, NEVER_US, ItemStatistics

Floats = npt.NDArray[np.float64]

TRENDS: Final = HALF_LIFE_NAMES
POPULAR: Final = len(TRENDS)
"""Column of `ItemView.order_by` after the trends: the count over all time."""
CATEGORY_TREND: Final = TRENDS.index("14d")
"""Trend by which items of one category are ordered."""

_RANK_LIMIT: Final = 10_000
_CATEGORY_HEAD: Final = 100
"""Trending items of a category that are looked at."""
_PRIOR_EVENTS: Final = 10.0
"""Events of an average item that are added to each item's own before a share is taken."""


@dataclass(frozen=True, eq=False)
class Categories:
    """Categories of all items: item i has index[offsets[i]:offsets[i + 1]] of `names` (int64, int32)."""

    names: tuple[str, ...]
    offsets: npt.NDArray[np.int64]
    index: npt.NDArray[np.int32]

    @cached_property
    def count(self) -> npt.NDArray[np.int64]:
        """Return the number of categories of each item, int64 (n_items,)."""
        return np.diff(self.offsets)

    @cached_property
    def entries(self) -> Lists:
        """Return offsets and index as compiled loops read them."""
        return Lists(read_only(self.offsets), read_only(self.index))

    def of(self, items: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """Return to which of some items (by position) each of their categories belongs, and these, end to end."""
        owner, entries = entries_of(self.offsets, items)
        return owner, self.index[entries]

    def members(self, names: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Return which items are in at least one of some categories, bool (n_items,); unknown names hold nothing."""
        wanted = [self.names.index(name) for name in set(names) & set(self.names)]
        entries = np.flatnonzero(np.isin(self.index, wanted))
        found = np.zeros(len(self.offsets) - 1, dtype=np.bool_)
        found[np.searchsorted(self.offsets, entries, side="right") - 1] = True
        return found


@dataclass(frozen=True, eq=False)
class ItemView:
    """Items as the features see them at one bucket edge; orders are sorted once and kept for all users.

    What only goes into another array is not kept: of a million items each float is some megabytes for every process.
    """

    statistics: ItemStatistics
    categories: Categories
    facts: ItemFacts

    @cached_property
    def order_by(self) -> npt.NDArray[np.int32]:
        """Return all items by trend and by count, best first: int32 (len(TRENDS) + 1, n_items), ties by index."""
        return np.argsort(-self.liking, axis=1, kind="stable").astype(np.int32)

    @property
    def popularity(self) -> npt.NDArray[np.float32]:
        """Return rank and relative score by trend and by count: float32 (n_items, 2 * (len(TRENDS) + 1))."""
        n_items = self.liking.shape[1]
        columns = np.empty((n_items, 2 * len(self.liking)), dtype=np.float32)
        for row, (score, order) in enumerate(zip(self.liking, self.order_by, strict=True)):
            rank = np.empty(n_items, dtype=np.float32)
            rank[order] = np.minimum(np.arange(1, n_items + 1), _RANK_LIMIT)
            columns[:, 2 * row] = np.where(score > 0, rank, np.nan)
            columns[:, 2 * row + 1] = score / max(float(score.max(initial=0.0)), 1e-12)
        return columns

    @cached_property
    def liking(self) -> Floats:
        """Return how much all items are liked, by trend and by count: (len(TRENDS) + 1, n_items)."""
        return np.concatenate((self.statistics.decayed.T, self.statistics.count[None].astype(np.float64)))

    @cached_property
    def log_count(self) -> Floats:
        """Return log(1 + count) of each item."""
        return np.log1p(self.statistics.count.astype(np.float64))

    @property
    def age_days(self) -> Floats:
        """Return days since each item's first event, NaN where none."""
        return self._days_since(self.statistics.first_at_us)

    @property
    def idle_days(self) -> Floats:
        """Return days since each item's latest event, NaN where none."""
        return self._days_since(self.statistics.last_at_us)

    @property
    def pace(self) -> Floats:
        """Return recent over usual pace for (1 day, 14 days) and (14 days, 240 days): (n_items, 2)."""
        decayed = self.statistics.decayed
        day, fortnight, long = (decayed[:, TRENDS.index(name)] for name in ("1d", "14d", "240d"))
        return np.column_stack(((day + 0.05) / (fortnight / 14 + 0.1), (fortnight + 0.5) / (long * 14 / 240 + 1.0)))

    @property
    def shares(self) -> npt.NDArray[np.float32]:
        """Return what part of an item's events like it, dislike it, show more than a look, and its mean rating.

        float32 (n_items, 4); each with a prior of a few events of the average item, the rating NaN where none is known.
        """
        found = self.statistics
        columns = [_share_with_prior(part, found.seen) for part in (found.count, found.disliked, found.strong)] + [
            _share_with_prior(found.rating_sum, found.rating_count)
        ]
        return np.column_stack(columns).astype(np.float32)

    @cached_property
    def tastes(self) -> Floats:
        """Return what users have a taste for: log count, log age, year and log price, NaN unknown, (n_items, 4)."""
        price = np.log1p(self.facts.price.astype(np.float64))
        return np.column_stack((self.log_count, np.log1p(self.age_days), self.facts.year.astype(np.float64), price))

    @cached_property
    def item_columns(self) -> npt.NDArray[np.float32]:
        """Return the features that are the same for all users: popularity, then what the spec calls `_ITEM`."""
        own = (self.age_days, self.idle_days, self.pace, self.shares, self.tastes[:, 2:], self.categories.count)
        return np.column_stack((self.popularity, *own)).astype(np.float32)

    @cached_property
    def unmet_columns(self) -> npt.NDArray[np.float32]:
        """Return the first of `item_columns`, up to what the catalogue says, of an item that nobody ever met."""
        unmet = ItemStatistics.empty(1, self.statistics.closed_at_us)
        alone = ItemView(unmet, Categories((), np.zeros(2, np.int64), np.empty(0, np.int32)), ItemFacts.unknown(1))
        found = self.statistics
        parts = (found.count, found.disliked, found.strong)
        shares = [*(_mean_share(part, found.seen) for part in parts), _mean_share(found.rating_sum, found.rating_count)]
        popularity = alone.popularity.ravel()
        return np.concatenate((popularity, [np.nan, np.nan], alone.pace.ravel(), shares)).astype(np.float32)

    @cached_property
    def heads(self) -> Lists:
        """Return the first trending items of each category."""
        order = self.order_by[CATEGORY_TREND]
        order = order[self.statistics.decayed[order, CATEGORY_TREND] > 0]
        owner, category = self.categories.of(order)
        by_category = np.argsort(category, kind="stable")
        category, items = category[by_category], order[owner[by_category]]
        count = np.bincount(category, minlength=len(self.categories.names))
        return Lists(offsets_of(np.minimum(count, _CATEGORY_HEAD)), items[places(count) < _CATEGORY_HEAD])

    @cached_property
    def clock(self) -> tuple[float, float]:
        """Return hour and weekday of the bucket's edge in UTC, NaN on a virtual clock."""
        if not self.statistics.has_clock:
            return float("nan"), float("nan")
        at = datetime.fromtimestamp(self.statistics.closed_at_us / 1e6, tz=UTC)
        return float(at.hour), float(at.weekday())

    def days_before_edge(self, at_us: npt.NDArray[np.int64]) -> Floats:
        """Return how many days instants lie before the bucket's edge, 0 for later ones."""
        return np.maximum(self.statistics.closed_at_us - at_us, 0) / DAY_US

    def _days_since(self, at_us: npt.NDArray[np.int64]) -> Floats:
        known = at_us != NEVER_US
        return np.where(known, self.days_before_edge(np.where(known, at_us, 0)), np.nan)


def _mean_share(part: npt.NDArray[np.number], whole: npt.NDArray[np.number]) -> float:
    total = float(whole.sum())
    return float(part.sum()) / total if total else float("nan")


def _share_with_prior(part: npt.NDArray[np.number], whole: npt.NDArray[np.number]) -> Floats:
    mean = _mean_share(part, whole)
    return np.asarray((part + _PRIOR_EVENTS * mean) / (whole + _PRIOR_EVENTS), dtype=np.float64)


def category_shares(
    item: npt.NDArray[np.int32], weight: npt.NDArray[np.float32], categories: Categories
) -> Floats | None:
    """Return the share of a user's liking in each category (n_categories,), None where no liked item has one."""
    share = np.empty(len(categories.names))
    return share if loops.category_shares(item, weight, categories.entries, share) else None
