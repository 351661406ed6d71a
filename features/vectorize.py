"""Every feature of the ranker, once: the same functions build training rows (as of a past moment) and served rows.

Pure functions of one user's history, the items' state and statistics, and what the candidate sources offered. Times
are read against the statistics' bucket edge, so that an answer is constant within a bucket. NaN means unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.spec import Feature, FeatureSpec
from features.contracts.statistics import DAY_US, HALF_LIFE_NAMES, NEVER_US, ItemStatistics

Floats = npt.NDArray[np.float64]

TRENDS: Final = HALF_LIFE_NAMES
POPULAR: Final = len(TRENDS)
"""Column of `ItemView.order_by` after the trends: the count over all time."""

_RANK_LIMIT: Final = 10_000


def feature_spec(offered: Sequence[Feature]) -> FeatureSpec:
    """Return the spec of a ranker that reads, before the features made here, those columns of retrieval."""
    columns = [*offered]
    for name in (*TRENDS, "all"):
        window = "all time" if name == "all" else f"a half-life of {name}"
        columns += [
            Feature(f"popular_{name}_rank", f"rank of the item by liking events, {window}", "1 = best", "statistics"),
            Feature(f"popular_{name}_relative", f"the same over the best item's, {window}", "0..1", "statistics"),
        ]
    columns += [
        Feature("item_age", "time since the item's first event", "days", "statistics"),
        Feature("item_idle", "time since the item's latest event", "days", "statistics"),
        Feature("trend_1d_14d", "recent over usual pace: 1 day against 14 days", "ratio", "statistics"),
        Feature("trend_14d_240d", "recent over usual pace: 14 days against 240 days", "ratio", "statistics"),
        Feature("popularity_gap", "log count of the item minus the mean of the user's items", "log", "history"),
        Feature("age_gap", "log age of the item minus the mean of the user's items", "log days", "history"),
        Feature("category_affinity", "share of the user's liking in the item's categories, mean", "0..1", "history"),
        Feature("category_best", "share of the user's liking in the item's best category", "0..1", "history"),
        Feature("category_count", "number of the item's categories", "count", "catalogue"),
        Feature("user_events", "events in the user's history", "count", "history"),
        Feature("user_liked", "share of events that show liking", "0..1", "history"),
        Feature("user_idle", "time since the user's latest event", "days", "history"),
        Feature("user_span", "time between the user's oldest and latest event", "days", "history"),
        Feature("user_popularity", "mean log count of the user's items", "log", "history"),
        Feature("user_age_taste", "mean log age of the user's items", "log days", "history"),
        Feature("hour", "hour of the day", "0..23, UTC", "context"),
        Feature("weekday", "day of the week, Monday = 0", "0..6, UTC", "context"),
    ]
    return FeatureSpec(tuple(columns))


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

    def of(self, items: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """Return to which of some items (by position) each of their categories belongs, and these, end to end."""
        count = self.count[items]
        owner = np.repeat(np.arange(len(items)), count)
        start = self.offsets[items] - (np.cumsum(count) - count)
        return owner, self.index[np.arange(len(owner)) + start[owner]]


@dataclass(frozen=True, eq=False)
class ItemView:
    """Items as the features see them at one bucket edge; orders are sorted once and kept for all users."""

    statistics: ItemStatistics
    categories: Categories

    @cached_property
    def order_by(self) -> npt.NDArray[np.int32]:
        """Return all items by trend and by count, best first: int32 (len(TRENDS) + 1, n_items), ties by index."""
        scores = np.concatenate((self.statistics.decayed.T, self.statistics.count[None].astype(np.float64)))
        return np.argsort(-scores, axis=1, kind="stable").astype(np.int32)

    @cached_property
    def popularity(self) -> npt.NDArray[np.float32]:
        """Return rank and relative score by trend and by count: float32 (n_items, 2 * (len(TRENDS) + 1))."""
        scores = np.concatenate((self.statistics.decayed.T, self.statistics.count[None].astype(np.float64)))
        n_items = scores.shape[1]
        columns = np.empty((n_items, 2 * len(scores)), dtype=np.float32)
        for row, (score, order) in enumerate(zip(scores, self.order_by, strict=True)):
            rank = np.empty(n_items, dtype=np.float32)
            rank[order] = np.minimum(np.arange(1, n_items + 1), _RANK_LIMIT)
            columns[:, 2 * row] = np.where(score > 0, rank, np.nan)
            columns[:, 2 * row + 1] = score / max(float(score.max(initial=0.0)), 1e-12)
        return columns

    @cached_property
    def log_count(self) -> Floats:
        """Return log(1 + count) of each item."""
        return np.log1p(self.statistics.count.astype(np.float64))

    @cached_property
    def age_days(self) -> Floats:
        """Return days since each item's first event, NaN where none."""
        return self._days_since(self.statistics.first_at_us)

    @cached_property
    def idle_days(self) -> Floats:
        """Return days since each item's latest event, NaN where none."""
        return self._days_since(self.statistics.last_at_us)

    @cached_property
    def log_age(self) -> Floats:
        """Return log(1 + age in days) of each item, NaN where it has no event."""
        return np.log1p(self.age_days)

    @cached_property
    def pace(self) -> Floats:
        """Return recent over usual pace for (1 day, 14 days) and (14 days, 240 days): (n_items, 2)."""
        decayed = self.statistics.decayed
        day, fortnight, long = (decayed[:, TRENDS.index(name)] for name in ("1d", "14d", "240d"))
        return np.column_stack(((day + 0.05) / (fortnight / 14 + 0.1), (fortnight + 0.5) / (long * 14 / 240 + 1.0)))

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


def vectorize(
    item: npt.NDArray[np.int32],
    weight: npt.NDArray[np.float32],
    at_us: npt.NDArray[np.int64],
    *,
    candidates: npt.NDArray[np.int32],
    offered: npt.NDArray[np.float32],
    view: ItemView,
) -> npt.NDArray[np.float32]:
    """Return feature rows of one user's candidates, float32 (n_candidates, len(spec)), in spec order.

    Parameters
    ----------
    item, weight, at_us
        The user's history, newest first: internal index, preference weight, microseconds since 1970 UTC. All of it
        must lie strictly before the moment for which rows are built.
    candidates
        int32 (n_candidates,), internal indices.
    offered
        float32 (n_candidates, n_offered), what retrieval knows of them: the spec's first columns.
    view
        The items at the bucket edge that the moment falls behind.
    """
    n_popular = 2 * (len(TRENDS) + 1)
    width = offered.shape[1] + n_popular + 17
    rows = np.empty((len(candidates), width), dtype=np.float32)
    at = offered.shape[1]
    rows[:, :at] = offered
    rows[:, at : at + n_popular] = view.popularity[candidates]
    at += n_popular
    rows[:, at] = view.age_days[candidates]
    rows[:, at + 1] = view.idle_days[candidates]
    rows[:, at + 2 : at + 4] = view.pace[candidates]
    popularity_taste, age_taste = _tastes(item, view)
    rows[:, at + 4] = view.log_count[candidates] - popularity_taste
    rows[:, at + 5] = view.log_age[candidates] - age_taste
    rows[:, at + 6 : at + 9] = _category_columns(item, weight, candidates, view.categories)
    rows[:, at + 9 : at + 13] = _user_columns(weight, at_us, view)
    rows[:, at + 13] = popularity_taste
    rows[:, at + 14] = age_taste
    rows[:, at + 15 : at + 17] = view.clock
    return rows


def _tastes(item: npt.NDArray[np.int32], view: ItemView) -> tuple[float, float]:
    """Return the mean log count and the mean log age of a user's items, NaN where unknown."""
    if not len(item):
        return float("nan"), float("nan")
    age = view.log_age[item]
    known = ~np.isnan(age)
    return float(view.log_count[item].mean()), float(age[known].mean()) if known.any() else float("nan")


def _user_columns(weight: npt.NDArray[np.float32], at_us: npt.NDArray[np.int64], view: ItemView) -> tuple[float, ...]:
    """Return events, share liked, idle days and span in days of a user."""
    if not len(weight):
        return 0.0, float("nan"), float("nan"), float("nan")
    days = view.days_before_edge(at_us[[0, -1]])
    return float(len(weight)), float((weight > 0).mean()), float(days[0]), float(days[1] - days[0])


def _category_columns(
    item: npt.NDArray[np.int32],
    weight: npt.NDArray[np.float32],
    candidates: npt.NDArray[np.int32],
    categories: Categories,
) -> Floats:
    """Return mean and best affinity to the candidates' categories, and how many they have: (n_candidates, 3)."""
    count = categories.count[candidates]
    columns = np.full((len(candidates), 3), np.nan)
    columns[:, 2] = count
    share = _category_shares(item, weight, categories)
    if share is None:
        return columns
    owner, category = categories.of(candidates)
    some = count > 0
    columns[some, 0] = np.bincount(owner, share[category], len(candidates))[some] / count[some]
    best = np.zeros(len(candidates))
    np.maximum.at(best, owner, share[category])
    columns[some, 1] = best[some]
    return columns


def _category_shares(
    item: npt.NDArray[np.int32], weight: npt.NDArray[np.float32], categories: Categories
) -> Floats | None:
    """Return the share of a user's liking in each category, or None where no liked item has one."""
    liked = item[weight > 0]
    owner, category = categories.of(liked)
    if not len(category):
        return None
    spread = weight[weight > 0].astype(np.float64) / np.maximum(categories.count[liked], 1)
    share = np.bincount(category, spread[owner], len(categories.names))
    total: Floats = share / share.sum()
    return total
