"""Fold-in: a user's vector from recent interactions, by the normal equations that ALS solves for a row.

Hu, Koren, Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008; signs and confidences as in
implicit's `AlternatingLeastSquares` (confidence c = alpha x weight, A = Y'Y + reg I + sum (c - 1) y y', b = sum c y).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import sposv


@dataclass(frozen=True, eq=False)
class FoldIn:
    """Item factors and the part of the normal equations that is the same for all users.

    Attributes
    ----------
    factors
        float32 (n_items, n_factors).
    gram
        Y'Y + reg I of the factors that it holds, float32 (n_factors, n_factors).
    held
        Whose factors `gram` holds, bool (n_items,); None where it holds all. It lacks those that texts promise, so that
        items without a history move nobody who has not met them.
    """

    factors: npt.NDArray[np.float32]
    gram: npt.NDArray[np.float32]
    alpha: float
    held: npt.NDArray[np.bool_] | None = None

    def vector(self, item: npt.NDArray[np.int32], weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        """Return the user's vector, float32 (n_factors,); None without liking, or if the equations have no solution.

        Parameters
        ----------
        item, weight
            The user's history; an item that stands more than once counts with its largest weight, weights <= 0 not.
        """
        items, confidence = confidences(item, weight)
        if not len(items):
            return None
        scaled = confidence * np.float32(self.alpha)
        rows = self.factors[items]
        # To take y y' from a sum that it is no part of would leave equations without a sensible solution.
        held = np.float32(1) if self.held is None else self.held[items]
        system = (rows.T * (scaled - held)) @ rows
        system += self.gram
        solution: tuple[Any, npt.NDArray[np.float32], int] = sposv(system, scaled @ rows, lower=1, overwrite_a=1)
        return None if solution[2] else solution[1]


def all_but(n_items: int, lacking: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Return whose factors a gram holds that lacks those of some items: bool (n_items,)."""
    held = np.ones(n_items, dtype=bool)
    held[lacking] = False
    return held


def confidences(
    item: npt.NDArray[np.int32], weight: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Return the distinct liked items of a history, ascending, and their weights: the largest of each.

    >>> confidences(np.array([4, 2, 4], np.int32), np.array([0.5, 1.0, 0.8], np.float32))
    (array([2, 4], dtype=int32), array([1. , 0.8], dtype=float32))
    """
    liked = weight > 0
    order = np.lexsort((-weight[liked], item[liked]))
    items, values = item[liked][order], weight[liked][order]
    first = np.flatnonzero(np.diff(items, prepend=np.int32(-1)))
    return items[first], values[first]
