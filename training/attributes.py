"""Attributes of items from the further columns of an items file: numbers as ranks, repeated values as facets."""

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from features.contracts.columns import ITEM, TEXT, TITLE
from features.contracts.ids import MISSING, IdMap
from features.items import Categories
from features.list_features import Attributes
from training.data import flat_lists
from training.frames import category_list, read_items

_NO_ATTRIBUTES: Final = frozenset({ITEM, TITLE, TEXT})

_REPEATED: Final = 3
"""A column is a facet where one of so many values or more repeats: names of makers do, titles do not."""


def load_attributes(path: Path | None, items: IdMap) -> Attributes:
    """Return the attributes of items from a parquet file; nothing is known of items that it lacks.

    Columns of numbers, truth values and times become numbers. Columns of text (several values separated by ``|``) and
    of lists become facets where values repeat. Names keep their letters, digits and underscores only.

    What the file says is taken as true at any moment: that a column holds nothing that was learned later (sales to
    date, a present rating) is for whoever wrote it to see to.
    """
    if path is None:
        return Attributes({}, (), np.empty((len(items), 0)))
    frame = read_items(path)
    rows = items.index_or_missing(frame[ITEM].astype(str))
    frame, rows = frame[rows != MISSING], rows[rows != MISSING]
    facets: dict[str, Categories] = {}
    numbers: dict[str, npt.NDArray[np.float64]] = {}
    for written in frame.columns.difference(_NO_ATTRIBUTES, sort=False):
        column, name = frame[written], re.sub(r"\W", "_", written)
        if types.is_numeric_dtype(column) or types.is_datetime64_any_dtype(column):
            numbers[name] = _shares(column, rows, len(items))
        elif (facet := _facet(column, rows, len(items))) is not None:
            facets[name] = facet
    columns = np.column_stack([np.empty((len(items), 0)), *numbers.values()])
    return Attributes(facets, tuple(numbers), columns)


def _shares(column: "pd.Series[Any]", rows: npt.NDArray[np.int32], size: int) -> npt.NDArray[np.float64]:
    """Return each item's rank in a column as a share of those known, NaN where unknown; ties share their mean."""
    shares = np.full(size, np.nan)
    shares[rows] = column.rank(pct=True).to_numpy(dtype=np.float64, na_value=np.nan)
    return shares


def _facet(column: "pd.Series[Any]", rows: npt.NDArray[np.int32], size: int) -> Categories | None:
    """Return the values that at least two items have, or None where most values are single."""
    lists: list[list[str]] = [[] for _ in range(size)]
    for row, entry in zip(rows.tolist(), column, strict=True):
        lists[row] = category_list(entry)
    values = pd.Series([value for entry in lists for value in entry], dtype=object)
    counts = values.value_counts()
    if not len(counts) or (len(values) - len(counts)) * _REPEATED < len(values):
        return None
    names = sorted(counts.index[counts > 1])
    position = {name: index for index, name in enumerate(names)}
    kept = [np.array([position[v] for v in entry if v in position], dtype=np.int32) for entry in lists]
    return Categories(tuple(names), *flat_lists(kept))
