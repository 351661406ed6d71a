"""Orders from ranks alone: what serves where no ranker is better, and what every ranker has to beat."""

from typing import Final

import numpy as np
import numpy.typing as npt

from training.bundle.plan import BLEND
from training.bundle.sources import SOURCES

FUSION_CONSTANT: Final = 60.0
"""Of reciprocal rank fusion (Cormack, Clarke, Buettcher, SIGIR 2009)."""


def reciprocal_ranks(ranks: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return 1 / (60 + rank), 0 where a source does not rank the candidate; the shape of `ranks`."""
    reciprocal = 1.0 / (FUSION_CONSTANT + ranks.astype(np.float64))
    reciprocal[np.isnan(reciprocal)] = 0.0
    return np.asarray(reciprocal)


def order_scores(ranks: npt.NDArray[np.float32], order_by: str) -> npt.NDArray[np.float64]:
    """Return scores by reciprocal rank: of one source, the others breaking its ties, or of all ("blend")."""
    reciprocal = reciprocal_ranks(ranks)
    blend = reciprocal.sum(axis=1)
    if order_by == BLEND:
        return np.asarray(blend)
    return np.asarray(reciprocal[:, SOURCES.index(order_by)] + 1e-6 * blend)
