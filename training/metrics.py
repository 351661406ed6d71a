"""Ranking metrics of one list each, their means with bootstrap intervals, and paired differences."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from training.resampling import resampled_means

Floats = npt.NDArray[np.float64]

RESAMPLES: Final = 1_000
LEVEL: Final = 0.95
STANDARD_ERRORS: Final = 1.96
"""Half the width of a normal mean's interval at that level."""


def hits(items: npt.NDArray[np.int32], labels: list[npt.NDArray[np.int32]]) -> npt.NDArray[np.bool_]:
    """Return which recommended items are among a user's labels: bool, shape of `items` (n_users, k).

    >>> hits(np.array([[3, 1, 2]], np.int32), [np.array([2, 3], np.int32)])
    array([[ True, False,  True]])
    """
    count = [len(wanted) for wanted in labels]
    wanted = np.concatenate([np.empty(0, np.int64), *labels])
    width = max(int(items.max(initial=0)), int(wanted.max(initial=0))) + 1
    owner = np.repeat(np.arange(len(count)), count)
    pairs = (owner * width + wanted)[wanted != MISSING]
    return np.asarray(np.isin(np.arange(len(items))[:, None] * width + items, pairs) & (items != MISSING))


def ndcg(hit: npt.NDArray[np.bool_], relevant: npt.NDArray[np.int64], k: int) -> Floats:
    """Return NDCG@k with binary relevance of each user: sum of 1 / log2(rank + 1) over hits, over the best possible.

    >>> ndcg(np.array([[True, False, True]]), np.array([2]), k=3).round(4)
    array([0.9197])
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    width = min(k, hit.shape[1])
    ideal = np.cumsum(discount)[np.minimum(relevant, k) - 1]
    return np.asarray((hit[:, :width] * discount[:width]).sum(axis=1) / ideal)


def recall(hit: npt.NDArray[np.bool_], relevant: npt.NDArray[np.int64], k: int) -> Floats:
    """Return hits among the first k over min(k, relevant items), of each user.

    >>> recall(np.array([[True, False, True]]), np.array([4]), k=2)
    array([0.5])
    """
    return np.asarray(hit[:, :k].sum(axis=1) / np.minimum(relevant, k), dtype=np.float64)


def hit_rate(hit: npt.NDArray[np.bool_], k: int) -> Floats:
    """Return 1.0 for each user with a hit among the first k, else 0.0.

    >>> hit_rate(np.array([[False, True], [False, False]]), k=2)
    array([1., 0.])
    """
    return np.asarray(hit[:, :k].any(axis=1), dtype=np.float64)


def coverage(items: npt.NDArray[np.int32], n_items: int, k: int) -> float:
    """Return the share of the catalogue that stands in somebody's first k.

    >>> coverage(np.array([[0, 1], [1, 2]], np.int32), n_items=6, k=2)
    0.5
    """
    shown = items[:, :k]
    return len(np.unique(shown[shown != MISSING])) / max(n_items, 1)


def per_user(items: npt.NDArray[np.int32], labels: list[npt.NDArray[np.int32]]) -> dict[str, Floats]:
    """Return every list metric of each user, by name."""
    hit = hits(items, labels)
    relevant = np.array([len(entry) for entry in labels], dtype=np.int64)
    return {
        "ndcg@10": ndcg(hit, relevant, 10),
        "recall@20": recall(hit, relevant, 20),
        "hit_rate@10": hit_rate(hit, 10),
    }


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over users with its bootstrap interval at level `LEVEL`."""

    mean: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return the estimate as JSON values."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


def bootstrap_mean(values: Floats, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """Return the mean of per-user values (n_users,) with a percentile bootstrap interval over users."""
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"))
    means = resampled_means(values[:, None], seed, resamples)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(values.mean()), float(low), float(high))
