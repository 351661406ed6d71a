"""How much two ranked lists agree."""

from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from training.metrics import Floats

PERSISTENCE: Final = 0.9
"""Of rank-biased overlap: a reader goes on to the next place so often; the first ten places weigh 86 %."""

Lists = npt.NDArray[np.int32]


def overlap(first: Lists, second: Lists, k: int) -> Floats:
    """Return the share of each user's first k items that both lists hold, float64 (n_users,); NaN where both are empty.

    >>> overlap(np.array([[1, 2, 3]]), np.array([[3, 9, 1]]), k=3).round(3)
    array([0.667])
    """
    common = _common(first[:, :k], second[:, :k]).sum(axis=1)
    longest = np.maximum(*((lists[:, :k] != MISSING).sum(axis=1) for lists in (first, second)))
    return np.where(longest > 0, common / np.maximum(longest, 1), np.nan)


def rank_biased_overlap(first: Lists, second: Lists, persistence: float = PERSISTENCE) -> Floats:
    """Return the rank-biased overlap of each user's lists, extrapolated from their length: 1 = the same, 0 = nothing.

    Agreement at the top counts most; Webber, Moffat and Zobel, "A similarity measure for indefinite rankings", 2010,
    equation 30, with both lists cut to the shorter one. NaN where one is empty.

    >>> rank_biased_overlap(np.array([[1, 2], [1, 2], [1, 2]]), np.array([[1, 2], [2, 1], [3, 4]])).round(3)
    array([1. , 0.9, 0. ])
    """
    length = np.minimum(*((lists != MISSING).sum(axis=1) for lists in (first, second)))
    depth = np.arange(1, first.shape[1] + 1)
    agreed = np.array([_common(first[:, :at], second[:, :at]).sum(axis=1) / at for at in depth]).T
    weight = np.where(depth <= length[:, None], persistence**depth, 0.0)
    at_end = agreed[np.arange(len(first)), np.maximum(length, 1) - 1]
    found = (1 - persistence) / persistence * (agreed * weight).sum(axis=1) + at_end * persistence**length
    return np.where(length > 0, found, np.nan)


def _common(first: Lists, second: Lists) -> npt.NDArray[np.bool_]:
    """Return which items of the first lists stand in the second ones, bool (n_users, k)."""
    same = first[:, :, None] == second[:, None, :]
    return np.asarray(same.any(axis=2) & (first != MISSING))
