"""Every feature of the ranker, once: the same functions build training rows (as of a past moment) and served rows.

Pure functions of one user's history, the items' state and statistics, and what the candidate sources offered. Times
are read against the statistics' bucket edge, so that an answer is constant within a bucket. NaN means unknown.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from features import loops
from features.contracts.spec import Feature, FeatureSpec
from features.items import TRENDS, Floats, ItemView, category_shares

_LATEST: Final = 5
"""Latest events whose items tell what the user is after now."""


def feature_spec(offered: Sequence[Feature]) -> FeatureSpec:
    """Return the spec of a ranker that reads, before the features made here, those columns of retrieval."""
    popular = []
    for name in (*TRENDS, "all"):
        window = "all time" if name == "all" else f"a half-life of {name}"
        popular += [
            Feature(f"popular_{name}_rank", f"rank of the item by liking events, {window}", "1 = best", "statistics"),
            Feature(f"popular_{name}_relative", f"the same over the best item's, {window}", "0..1", "statistics"),
        ]
    return FeatureSpec((*offered, *popular, *_ITEM, *_TASTE, *_CATEGORY, *_HAD, *_USER, *_CONTEXT))


_ITEM: Final = (
    Feature("item_age", "time since the item's first event", "days", "statistics"),
    Feature("item_idle", "time since the item's latest event", "days", "statistics"),
    Feature("trend_1d_14d", "recent over usual pace: 1 day against 14 days", "ratio", "statistics"),
    Feature("trend_14d_240d", "recent over usual pace: 14 days against 240 days", "ratio", "statistics"),
    Feature("item_liked", "share of the item's events that like it, with a prior", "0..1", "statistics"),
    Feature("item_disliked", "share of the item's events that dislike it, with a prior", "0..1", "statistics"),
    Feature("item_conversion", "share of its events that show more than a look, with a prior", "0..1", "statistics"),
    Feature("item_rating", "mean rating as a share of the scale, with a prior", "0..1", "statistics"),
    Feature("item_year", "year in which the work appeared", "year", "catalogue"),
    Feature("item_price", "log of 1 + price", "log", "catalogue"),
    Feature("category_count", "number of the item's categories", "count", "catalogue"),
)
_TASTES: Final = (
    ("popularity", "log count", "log"),
    ("age", "log age", "log days"),
    ("year", "year", "years"),
    ("price", "log price", "log"),
)
_TASTE: Final = tuple(
    Feature(f"{name}_gap{suffix}", f"{what} of the item minus the mean of the user's {items}", unit, "history")
    for name, what, unit in _TASTES
    for suffix, items in (("", "items"), (f"_{_LATEST}", f"latest {_LATEST} items"))
)
_CATEGORY: Final = (
    Feature("category_affinity", "share of the user's liking in the item's categories, mean", "0..1", "history"),
    Feature("category_best", "share of the user's liking in the item's best category", "0..1", "history"),
    Feature("category_latest", f"the same as the mean, over the latest {_LATEST} events", "0..1", "history"),
    Feature("category_ago", "time since the user's newest event in one of the item's categories", "days", "history"),
)
_HAD: Final = (
    Feature("had_count", "the user's events on this very item", "count", "history"),
    Feature("had_ago", "time since the newest of them", "days", "history"),
)
_USER: Final = (
    Feature("user_events", "events in the user's history", "count", "history"),
    Feature("user_liked", "share of events that show liking", "0..1", "history"),
    Feature("user_disliked", "share of events that show dislike", "0..1", "history"),
    Feature("user_idle", "time since the user's latest event", "days", "history"),
    Feature("user_span", "time between the user's oldest and latest event", "days", "history"),
    Feature("user_breadth", "categories that the user's liking is spread over: exp of its entropy", "count", "history"),
    Feature("user_popularity", "mean log count of the user's items", "log", "history"),
    Feature("user_age_taste", "mean log age of the user's items", "log days", "history"),
    Feature("user_year_taste", "mean year of the user's items", "year", "history"),
    Feature("user_price_taste", "mean log price of the user's items", "log", "history"),
)
_CONTEXT: Final = (
    Feature("hour", "hour of the day", "0..23, UTC", "context"),
    Feature("weekday", "day of the week, Monday = 0", "0..6, UTC", "context"),
)
USER_FEATURES: Final = (*_USER, *_CONTEXT)
"""The last columns of every row: the same for all candidates of a user."""


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
    days_ago = view.days_before_edge(at_us)
    share = category_shares(item, weight, view.categories)
    mean = loops.known_means(view.tastes, item)
    user = _of_user(weight, at_us, share, mean, view)
    blocks = _blocks(offered.shape[1], view.item_columns.shape[1], len(_TASTE), len(_CATEGORY), len(_HAD), len(user))
    rows = np.empty((len(candidates), blocks[-1].stop), dtype=np.float32)
    of_retrieval, of_item, of_taste, of_category, of_had, of_user = (rows[:, block] for block in blocks)
    of_retrieval[:] = offered
    np.take(view.item_columns, candidates, axis=0, out=of_item)
    loops.write_gaps(view.tastes, candidates, mean, loops.known_means(view.tastes, item[:_LATEST]), of_taste)
    _write_categories(of_category, item, weight, share, days_ago=days_ago, candidates=candidates, view=view)
    loops.write_had(item, days_ago, candidates, of_had)
    of_user[:] = user
    return rows


def user_row(
    item: npt.NDArray[np.int32], weight: npt.NDArray[np.float32], at_us: npt.NDArray[np.int64], view: ItemView
) -> npt.NDArray[np.float32]:
    """Return the values of `USER_FEATURES`, float32 (n,), as they stand in every row of the user; see `vectorize`."""
    share, mean = category_shares(item, weight, view.categories), loops.known_means(view.tastes, item)
    return np.array(_of_user(weight, at_us, share, mean, view), dtype=np.float32)


def _of_user(
    weight: npt.NDArray[np.float32], at_us: npt.NDArray[np.int64], share: Floats | None, mean: Floats, view: ItemView
) -> tuple[float, ...]:
    return (*_user_values(weight, at_us, view), _breadth(share), *mean, *view.clock)


def _blocks(*widths: int) -> list[slice]:
    """Return the columns of blocks that stand side by side."""
    ends = np.cumsum(widths).tolist()
    return [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]


def _user_values(
    weight: npt.NDArray[np.float32], at_us: npt.NDArray[np.int64], view: ItemView
) -> tuple[float, float, float, float, float]:
    """Return events, share liked, share disliked, idle days and span in days of a user."""
    if not len(weight):
        return 0.0, float("nan"), float("nan"), float("nan"), float("nan")
    days = view.days_before_edge(at_us[[0, -1]])
    liked, disliked = float((weight > 0).mean()), float((weight < 0).mean())
    return float(len(weight)), liked, disliked, float(days[0]), float(days[1] - days[0])


def _breadth(share: Floats | None) -> float:
    if share is None:
        return float("nan")
    some = share[share > 0]
    return float(np.exp(-(some * np.log(some)).sum()))


def _write_categories(
    columns: npt.NDArray[np.float32],
    item: npt.NDArray[np.int32],
    weight: npt.NDArray[np.float32],
    share: Floats | None,
    *,
    days_ago: Floats,
    candidates: npt.NDArray[np.int32],
    view: ItemView,
) -> None:
    """Write mean, best and latest affinity to the candidates' categories, and days since one: (n_candidates, 4)."""
    if share is None:
        columns[:] = np.nan
        return
    categories = view.categories
    latest = category_shares(item[:_LATEST], weight[:_LATEST], categories)
    if latest is None:
        latest = np.full(len(share), np.nan)
    newest = loops.newest_of_categories(item, days_ago, categories.entries, len(share))
    loops.write_categories(candidates, categories.entries, share, latest, newest, columns)
