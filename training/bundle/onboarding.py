"""Items to show a newcomer first: known to many, and between them telling as much of a taste as possible.

Greedy D-optimal design over the directions of the item factors. A like of an item says something of a taste in the
item's direction; how much is the logarithm by which the determinant of what is known grows. Each step takes the item
for which that, times a power of the share of users who like it, is largest. The length of an item's factors has no say:
it grows with the item's popularity, which counts already.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.statistics import ItemStatistics
from training.bundle.bundle import Bundle

POOL: Final = 10
"""Items to show are picked among the most liked ones, so many times as many as are asked for."""
FAME: Final = 0.5
"""Power of the share of users who like an item: what a like tells is heard only if there is one."""
CONFIDENCE: Final = 2.0
"""What one like adds in its direction, where nothing known is 1."""

Rows = npt.NDArray[np.int32]
Doubles = npt.NDArray[np.float64]


def onboarding_items(
    bundle: Bundle, statistics: ItemStatistics, k: int, eligible: npt.NDArray[np.bool_] | None = None
) -> Rows:
    """Return up to k items that split tastes well, int32 internal indices, the most telling first; always the same.

    Parameters
    ----------
    bundle
        The model that will serve whoever likes some of them.
    statistics
        The items' statistics, in the bundle's order: what nobody likes is not shown.
    k
        How many items.
    eligible
        bool (n_items,), which may be shown; None for all.
    """
    return telling_items(bundle.parts.fold_in.factors, statistics.count, k, eligible)


def telling_items(
    factors: npt.NDArray[np.floating],
    liked: npt.NDArray[np.integer],
    k: int,
    eligible: npt.NDArray[np.bool_] | None = None,
) -> Rows:
    """Return the items that `onboarding_items` shows; `liked` says how many like each item, (n_items,)."""
    may = liked > 0 if eligible is None else (liked > 0) & eligible
    known = np.flatnonzero(may)
    known = known[np.argsort(-liked[known], kind="stable")][: POOL * k]
    if not len(known):
        return known.astype(np.int32)
    rows = factors[known].astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    weight = (liked[known] / liked[known].max()) ** FAME
    return known[_most_telling(rows, weight, k)].astype(np.int32)


def _most_telling(rows: Doubles, weight: Doubles, k: int) -> npt.NDArray[np.int64]:
    """Return up to k rows one after the other, each of the largest weight times log(1 + `CONFIDENCE` x' A^-1 x).

    A is the identity at first and grows by `CONFIDENCE` x x' of each row taken: by Sherman and Morrison's formula,
    y' A^-1 y of every other row then shrinks by a square.
    """
    telling = (rows * rows).sum(axis=1)
    known = np.zeros((min(k, len(rows)), len(rows)))
    picked: list[int] = []
    for step in range(len(known)):
        worth = weight * np.log1p(CONFIDENCE * np.maximum(telling, 0.0))
        worth[picked] = -1.0
        best = int(np.argmax(worth))
        picked.append(best)
        common = rows @ rows[best] - known[:step].T @ known[:step, best]
        known[step] = common * np.sqrt(CONFIDENCE / (1.0 + CONFIDENCE * telling[best]))
        telling = telling - known[step] ** 2
    return np.array(picked, dtype=np.int64)
