"""Events for statistics that a test adds by hand."""

import numpy as np
import numpy.typing as npt

from features.contracts.statistics import StatisticEvents


def liked(items: npt.ArrayLike, closes_us: int) -> StatisticEvents:
    """Return one liking look at each of some items, in the bucket that closes at an edge."""
    item = np.asarray(items, dtype=np.int32)
    shape = item.shape
    return StatisticEvents(
        item=item,
        weight=np.ones(shape, np.float32),
        strong=np.zeros(shape, np.bool_),
        rating=np.full(shape, np.nan, np.float32),
        known_us=np.full(shape, closes_us - 1, np.int64),
    )
