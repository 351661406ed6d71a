"""The inner loops of retrieval for one user, compiled: microseconds each, and free of the interpreter's lock.

Arrays over all items would be cleared for every user: instead a thread keeps two (`scratch`), and each loop leaves
them as it found them.
"""

import threading
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from features.compiled import Lists, compiled
from features.contracts.ids import MISSING

Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint16]
Singles = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]


class Table(NamedTuple):
    """Neighbours of all items as loops read them, weights as the bits of float16; see `tables.NeighbourTable`."""

    offsets: Offsets
    neighbours: Ints
    bits: Bits
    halves: Singles


HALVES: Final[Singles] = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
"""The value of every float16 by its bits: compiled code knows no half precision."""


_LANES: Final = 8
"""Partial sums that NumPy keeps of a row."""


@dataclass(frozen=True, slots=True)
class Scratch:
    """One thread's arrays over all items: `sums` float64, all 0, and `place` int32, all `MISSING`, between loops."""

    sums: Doubles
    place: Ints


_kept = threading.local()


def scratch(n_items: int) -> Scratch:
    """Return this thread's arrays over `n_items` items."""
    kept: Scratch | None = getattr(_kept, "scratch", None)
    if kept is None or len(kept.sums) != n_items:
        kept = Scratch(np.zeros(n_items), np.full(n_items, MISSING, dtype=np.int32))
        _kept.scratch = kept
    return kept


@compiled
def _worse(scores: Doubles, items: Ints, first: int, second: int) -> bool:
    if scores[first] != scores[second]:
        return bool(scores[first] < scores[second])
    return bool(items[first] > items[second])


@compiled
def _sink(scores: Doubles, items: Ints, start: int, size: int) -> None:
    """Let an entry of a heap, the worst on top, sink to its place."""
    at = start
    while True:
        child = 2 * at + 1
        if child >= size:
            return
        if child + 1 < size and _worse(scores, items, child + 1, child):
            child += 1
        if not _worse(scores, items, child, at):
            return
        scores[at], scores[child] = scores[child], scores[at]
        items[at], items[child] = items[child], items[at]
        at = child


@compiled
def top(items: Ints, scores: Doubles, limit: int) -> tuple[Ints, Doubles]:
    """Return the `limit` items of largest score, best first, ties by index; what it is given is reordered."""
    size = min(limit, len(items))
    if not size:
        return items[:0], scores[:0]
    for at in range(size // 2 - 1, -1, -1):
        _sink(scores, items, at, size)
    for at in range(size, len(items)):
        if _worse(scores, items, 0, at):
            scores[0], items[0] = scores[at], items[at]
            _sink(scores, items, 0, size)
    for end in range(size - 1, 0, -1):
        scores[0], scores[end] = scores[end], scores[0]
        items[0], items[end] = items[end], items[0]
        _sink(scores, items, 0, end)
    return items[:size].copy(), scores[:size].copy()


@compiled
def best_neighbours(
    owners: Ints,
    strength: Doubles,
    table: Table,
    blocked: Booleans,
    sums: Doubles,
    limit: int,
) -> tuple[Ints, Doubles]:
    """Return the free items with the largest positive sum of strength times weight over the owners' neighbours."""
    n_entries = 0
    for owner in owners:
        n_entries += table.offsets[owner + 1] - table.offsets[owner]
    touched = np.empty(n_entries, np.int32)
    n_touched = 0
    for number, owner in enumerate(owners):
        for entry in range(table.offsets[owner], table.offsets[owner + 1]):
            item = table.neighbours[entry]
            if sums[item] == 0.0:
                touched[n_touched] = item
                n_touched += 1
            sums[item] += strength[number] * table.halves[table.bits[entry]]
    scores = np.empty(n_touched, np.float64)
    n_found = 0
    for at in range(n_touched):
        item = touched[at]
        total = sums[item]
        sums[item] = 0.0  # what comes a second time, after a sum of exactly 0, is left out
        if total > 0.0 and not blocked[item]:
            touched[n_found], scores[n_found] = item, total
            n_found += 1
    return top(touched[:n_found], scores[:n_found], limit)


@compiled
def best_trending(
    heads_of: Ints,
    share: Doubles,
    heads: Lists,
    categories: Lists,
    trend: Doubles,
    blocked: Booleans,
    sums: Doubles,
    limit: int,
) -> tuple[Ints, Doubles]:
    """Return the free items at the head of some categories with the largest share in their categories times trend."""
    n_entries = 0
    for category in heads_of:
        n_entries += heads.offsets[category + 1] - heads.offsets[category]
    items, scores = np.empty(n_entries, np.int32), np.empty(n_entries, np.float64)
    n_found = 0
    for category in heads_of:
        for item in heads.entries[heads.offsets[category] : heads.offsets[category + 1]]:
            if blocked[item] or sums[item] != 0.0:
                continue
            affinity = 0.0
            for entry in range(categories.offsets[item], categories.offsets[item + 1]):
                affinity += share[categories.entries[entry]]
            sums[item] = 1.0
            items[n_found], scores[n_found] = item, affinity * trend[item]
            n_found += 1
    for item in items[:n_found]:
        sums[item] = 0.0
    return top(items[:n_found], scores[:n_found], limit)


@compiled
def first_free(order: Ints, score: Doubles, blocked: Booleans, limit: int) -> Ints:
    """Return the first `limit` free items of an order by falling score whose score is above 0."""
    found = np.empty(min(limit, len(order)), np.int32)
    n_found = 0
    for item in order:
        if n_found == len(found) or score[item] <= 0.0:
            break
        if not blocked[item]:
            found[n_found] = item
            n_found += 1
    return found[:n_found]


@compiled
def proposed(offered: Ints, bounds: Offsets, budgets: Offsets, place: Ints) -> Ints:
    """Return the different items, ascending, among the first `budget` of each of some offers that stand end to end."""
    found = np.empty(len(offered), np.int32)
    n_found = 0
    for offer in range(len(budgets)):
        for item in offered[bounds[offer] : min(bounds[offer] + budgets[offer], bounds[offer + 1])]:
            if place[item] == MISSING:
                place[item] = 0
                found[n_found] = item
                n_found += 1
    for item in found[:n_found]:
        place[item] = MISSING
    return np.sort(found[:n_found])


@compiled
def align_offers(
    items: Ints, offered: Ints, scores: Doubles, bounds: Offsets, place: Ints, tenth: int
) -> tuple[Singles, Singles]:
    """Return rank and score, relative to the tenth's, of each item in each of some offers that stand end to end.

    Both float32 (n_items, n_offers), NaN where an offer lacks the item.
    """
    n_offers = len(bounds) - 1
    ranks = np.full((len(items), n_offers), np.nan, np.float32)
    relative = np.full((len(items), n_offers), np.nan, np.float32)
    for row, item in enumerate(items):
        place[item] = row
    for offer in range(n_offers):
        begin, end = bounds[offer], bounds[offer + 1]
        if begin == end:
            continue
        yardstick = max(abs(scores[min(begin + tenth, end - 1)]), 1e-9)
        for at in range(begin, end):
            row = place[offered[at]]
            if row >= 0:
                ranks[row, offer] = at - begin + 1
                relative[row, offer] = scores[at] / yardstick
    for item in items:
        place[item] = MISSING
    return ranks, relative


@compiled
def _sum_of(values: Doubles) -> float:
    """Return the sum of up to 128 numbers, added in the order in which NumPy adds a row: bit for bit the same."""
    size = len(values)
    if size < _LANES:
        total = 0.0
        for value in values:
            total += value
        return total
    lanes = values[:_LANES].copy()
    whole = size - size % _LANES
    for at in range(_LANES, whole, _LANES):
        for lane in range(_LANES):
            lanes[lane] += values[at + lane]
    total = float(((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7])))
    for value in values[whole:]:
        total += value
    return total


@compiled
def offer_columns(ranks: Singles, relative: Singles, n_told: int, constant: float, columns: Singles) -> None:
    """Write rank and relative score of each of the first sources, how many rank a candidate, and their blend.

    That is the sum of 1 / (constant + rank) over all sources, relative to the best candidate's; `columns` is float32
    (n_candidates, 2 * n_told + 2).
    """
    n_candidates, n_sources = ranks.shape
    blend, reciprocal, best = np.empty(n_candidates), np.empty(n_sources), 0.0
    for row in range(n_candidates):
        known = 0
        for source in range(n_sources):
            rank = ranks[row, source]
            if np.isnan(rank):
                reciprocal[source] = 0.0
            else:
                reciprocal[source] = 1.0 / (constant + np.float64(rank))
                known += 1
            if source < n_told:
                columns[row, 2 * source] = rank
                columns[row, 2 * source + 1] = relative[row, source]
        blend[row] = _sum_of(reciprocal)
        best = max(best, blend[row])
        columns[row, 2 * n_told] = known
    for row in range(n_candidates):
        columns[row, 2 * n_told + 1] = blend[row] / max(best, 1e-12)


@compiled
def affinity_columns(
    candidates: Ints,
    owners: Ints,
    table: Table,
    windows: tuple[int, ...],
    place: Ints,
    columns: Singles,
) -> None:
    """Write how candidates go with owners: sums over the first few of these, the largest weight, the first that has it.

    `columns` is float32 (n_candidates, len(windows) + 2); the last is NaN where no owner has the candidate.
    """
    n_windows = len(windows)
    sums = np.zeros((len(candidates), n_windows), np.float64)
    for row, item in enumerate(candidates):
        place[item] = row
        columns[row, n_windows] = 0.0
        columns[row, n_windows + 1] = np.nan
    for number, owner in enumerate(owners):
        for entry in range(table.offsets[owner], table.offsets[owner + 1]):
            row = place[table.neighbours[entry]]
            if row < 0:
                continue
            weight = table.halves[table.bits[entry]]
            for window in range(n_windows):
                if number < windows[window]:
                    sums[row, window] += weight
            columns[row, n_windows] = max(columns[row, n_windows], weight)
            if np.isnan(columns[row, n_windows + 1]):
                columns[row, n_windows + 1] = number
    for row, item in enumerate(candidates):
        place[item] = MISSING
        for window in range(n_windows):
            columns[row, window] = sums[row, window]


@compiled
def strongest_owners(items: Ints, owners: Ints, table: Table, place: Ints) -> Ints:
    """Return for each item the owner among whose neighbours it weighs most, `MISSING` where it is nobody's."""
    strongest = np.full(len(items), MISSING, np.int32)
    weight = np.full(len(items), -np.inf, np.float32)
    for row, item in enumerate(items):
        place[item] = row
    for owner in owners:
        for entry in range(table.offsets[owner], table.offsets[owner + 1]):
            row = place[table.neighbours[entry]]
            if row >= 0 and table.halves[table.bits[entry]] >= weight[row]:
                strongest[row], weight[row] = owner, table.halves[table.bits[entry]]
    for item in items:
        place[item] = MISSING
    return strongest


@compiled
def least_near(table: Table, n_own: int, limit: int) -> Singles:
    """Return how near an item has to be, at least, to come into each row of nearest texts, float32 (n_rows,).

    Nearer than the `limit`-th of the items below `n_own`, and than that of the others; 0 while there are fewer.
    """
    least = np.zeros(len(table.offsets) - 1, np.float32)
    for row in range(len(least)):
        n_of_own, n_of_others = 0, 0
        for entry in range(table.offsets[row], table.offsets[row + 1]):
            if table.neighbours[entry] < n_own:
                n_of_own += 1
                last = n_of_own == limit
            else:
                n_of_others += 1
                last = n_of_others == limit
            if last:
                least[row] = max(least[row], table.halves[table.bits[entry]])
    return least


@compiled
def joined_rows(table: Table, more: Table, n_own: int, limit: int) -> tuple[Offsets, Ints, Bits]:
    """Return the rows of two tables of positive weights as one, best first, of the items from `n_own` on `limit` a row.

    Of two that weigh the same that of the first table comes first.
    """
    n_rows = len(table.offsets) - 1
    size = len(table.neighbours) + len(more.neighbours)
    offsets, neighbours, bits = np.zeros(n_rows + 1, np.int64), np.empty(size, np.int32), np.empty(size, np.uint16)
    at = 0
    for row in range(n_rows):
        first, second, left = table.offsets[row], more.offsets[row], limit
        while first < table.offsets[row + 1] or second < more.offsets[row + 1]:
            # Of positive halves the bits are in the order of the values.
            if second == more.offsets[row + 1] or (
                first < table.offsets[row + 1] and table.bits[first] >= more.bits[second]
            ):
                neighbours[at], bits[at] = table.neighbours[first], table.bits[first]
                first += 1
            else:
                neighbours[at], bits[at] = more.neighbours[second], more.bits[second]
                second += 1
            if neighbours[at] < n_own:
                at += 1
            elif left:
                left -= 1
                at += 1
        offsets[row + 1] = at
    return offsets, neighbours[:at], bits[:at]
