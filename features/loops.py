"""The inner loops of features for one user, compiled; `features.vectorize` says what the columns mean."""

import numpy as np
import numpy.typing as npt

from features.compiled import Lists, compiled

Ints = npt.NDArray[np.int32]
Singles = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@compiled
def category_shares(item: Ints, weight: Singles, categories: Lists, share: Doubles) -> bool:
    """Write the share of a user's liking in each category, spread over an item's; return whether there is any."""
    share[:] = 0.0
    some = False
    for event in range(len(item)):
        begin, end = categories.offsets[item[event]], categories.offsets[item[event] + 1]
        if weight[event] <= 0 or begin == end:
            continue
        some = True
        for entry in range(begin, end):
            share[categories.entries[entry]] += weight[event] / (end - begin)
    total = 0.0
    for value in share:
        total += value
    if some:
        for category in range(len(share)):
            share[category] /= total
    return some


@compiled
def known_means(values: Doubles, item: Ints) -> Doubles:
    """Return the mean of each column of `values` over what is known of some items, NaN where nothing is."""
    mean = np.full(values.shape[1], np.nan)
    for column in range(values.shape[1]):
        total, count = 0.0, 0
        for one in item:
            if not np.isnan(values[one, column]):
                total += values[one, column]
                count += 1
        if count:
            mean[column] = total / count
    return mean


@compiled
def write_gaps(tastes: Doubles, candidates: Ints, mean: Doubles, latest: Doubles, columns: Singles) -> None:
    """Write for each taste what the candidate has more of than the mean of all, and of the latest, items."""
    for row, item in enumerate(candidates):
        for taste in range(len(mean)):
            columns[row, 2 * taste] = tastes[item, taste] - mean[taste]
            columns[row, 2 * taste + 1] = tastes[item, taste] - latest[taste]


@compiled
def newest_of_categories(item: Ints, days_ago: Doubles, categories: Lists, n_categories: int) -> Doubles:
    """Return days since the newest event in each category, infinite where there is none."""
    newest = np.full(n_categories, np.inf)
    for event in range(len(item) - 1, -1, -1):  # the newest event writes last
        for entry in range(categories.offsets[item[event]], categories.offsets[item[event] + 1]):
            newest[categories.entries[entry]] = days_ago[event]
    return newest


@compiled
def write_categories(
    candidates: Ints, categories: Lists, share: Doubles, latest: Doubles, newest: Doubles, columns: Singles
) -> None:
    """Write mean and best share of the candidates' categories, the mean of the latest share, days since an event."""
    for row, item in enumerate(candidates):
        begin, end = categories.offsets[item], categories.offsets[item + 1]
        columns[row, :] = np.nan
        if begin == end:
            continue
        total, best, lately, ago = 0.0, 0.0, 0.0, np.inf
        for category in categories.entries[begin:end]:
            total += share[category]
            best = max(best, share[category])
            lately += latest[category]
            ago = min(ago, newest[category])
        columns[row, 0] = total / (end - begin)
        columns[row, 1] = best
        columns[row, 2] = lately / (end - begin)
        if ago < np.inf:
            columns[row, 3] = ago


@compiled
def write_had(item: Ints, days_ago: Doubles, candidates: Ints, columns: Singles) -> None:
    """Write how often a user had each candidate (ascending), and days since the newest time."""
    columns[:, 0] = 0.0
    columns[:, 1] = np.nan
    for event in range(len(item) - 1, -1, -1):  # the newest event writes last
        row = np.searchsorted(candidates, item[event])
        if row < len(candidates) and candidates[row] == item[event]:
            columns[row, 0] += 1.0
            columns[row, 1] = days_ago[event]
