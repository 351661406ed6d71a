"""Rows of the table `item_statistics` as arrays, and back: the one place that knows the order of its columns."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.contracts.statistics import HALF_LIVES_US, StatisticsState
from features.contracts.times import from_us, to_us

ROW_TYPES: Final = (
    "text",
    "timestamptz",
    "int8",
    "float8[]",
    "timestamptz",
    "int8",
    "int8",
    "int8",
    "int8",
    "float8",
)
"""Types of the columns that the queries of statistics rows name, in their order."""


def state_of_rows(rows: Sequence[tuple[Any, ...]]) -> tuple[Sequence[str], StatisticsState]:
    """Return the item ids of rows, and their states in the same order."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(ROW_TYPES)
    item_ids, closed_at, count, decayed, first_at, seen, disliked, strong, rating_count, rating_sum = columns
    return item_ids, StatisticsState(
        count=np.asarray(count, dtype=np.int64),
        decayed=np.asarray(decayed, dtype=np.float64).reshape(len(rows), len(HALF_LIVES_US)),
        first_at_us=_times(first_at),
        last_at_us=_times(closed_at),
        seen=np.asarray(seen, dtype=np.int64),
        disliked=np.asarray(disliked, dtype=np.int64),
        strong=np.asarray(strong, dtype=np.int64),
        rating_count=np.asarray(rating_count, dtype=np.int64),
        rating_sum=np.asarray(rating_sum, dtype=np.float64),
    )


def row_of(item_id: str, state: StatisticsState, at: int) -> tuple[Any, ...]:
    """Return the row of an item whose state stands at an index."""
    return (
        item_id,
        from_us(int(state.last_at_us[at])),
        int(state.count[at]),
        state.decayed[at].tolist(),
        from_us(int(state.first_at_us[at])),
        int(state.seen[at]),
        int(state.disliked[at]),
        int(state.strong[at]),
        int(state.rating_count[at]),
        float(state.rating_sum[at]),
    )


def _times(instants: Sequence[datetime]) -> npt.NDArray[np.int64]:
    return np.fromiter(map(to_us, instants), dtype=np.int64, count=len(instants))
