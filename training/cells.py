"""What the columns of a file have to hold, checked when it enters: a refusal names file, column, row, value, way out.

Rows are counted from 0, as in a frame.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from features.contracts.errors import ContractError
from features.contracts.events import MAX_ID


def require(frame: pd.DataFrame, path: Path, *columns: str) -> None:
    """Refuse a frame that lacks one of the columns, naming them and the file."""
    missing = [column for column in columns if column not in frame]
    if missing:
        raise ContractError(f"{path}: columns {missing} are missing; found {list(frame.columns)}")


def require_filled(frame: pd.DataFrame, path: Path, *columns: str) -> None:
    """Refuse a frame that has an empty cell in one of the columns."""
    for column in columns:
        empty = np.flatnonzero(frame[column].isna())
        if len(empty):
            raise ContractError(
                f"{path}: column {column} is empty in {len(empty)} rows, first in row {empty[0]}; drop them"
            )


def require_ids(frame: pd.DataFrame, path: Path, *columns: str) -> None:
    """Refuse a frame of which one of the columns holds anything but ids: integers, or texts as long as an event's."""
    require_filled(frame, path, *columns)
    for name in columns:
        column = _plain(frame[name])
        if len(column) and not types.is_integer_dtype(column):
            _require_texts(column, path, name)


def require_distinct(frame: pd.DataFrame, path: Path, column: str) -> None:
    """Refuse a frame in which a cell of a column stands twice."""
    again = np.flatnonzero(frame[column].astype(str).duplicated())
    if len(again):
        value = cell(frame[column], int(again[0]))
        raise ContractError(
            f"{path}: column {column} holds {value!r} twice, again in row {again[0]}, and {len(again)} repeated ones "
            "in all; keep one row of each"
        )


def times(column: "pd.Series[Any]", path: Path, name: str) -> tuple[npt.NDArray[np.int64], bool]:
    """Return times as int64 microseconds UTC, or integers as they are; and whether they are times."""
    if types.is_integer_dtype(column):
        beyond = column > np.iinfo(np.int64).max
        if beyond.any():
            row, value = _first(column, beyond)
            raise ContractError(f"{path}: column {name} holds {value} in row {row}; expected integers below 2**63")
        return column.to_numpy(dtype=np.int64), False
    if not types.is_datetime64_any_dtype(column):
        instead = f"of texts pd.to_datetime(frame[{name!r}]) makes them"
        if types.is_numeric_dtype(column):
            instead = f"of numbers frame[{name!r}].astype('int64') makes integers, whose order alone counts"
        raise ContractError(
            f"{path}: column {name} is {column.dtype}; expected timestamps (naive = UTC) or integers; {instead}"
        )
    aware = column.dt.tz_localize("UTC") if column.dt.tz is None else column.dt.tz_convert("UTC")
    return aware.dt.as_unit("us").astype("int64").to_numpy(), True


def numbers(column: "pd.Series[Any]", path: Path, name: str) -> npt.NDArray[np.float64]:
    """Return a column of finite numbers, float64 (n,), NaN where a cell is empty."""
    if not (types.is_numeric_dtype(column) or types.infer_dtype(column) in {"decimal", "empty"}):
        row, value = _first(column, column.notna())
        raise ContractError(
            f"{path}: column {name} holds {value!r} in row {row}; expected numbers: pd.to_numeric(frame[{name!r}])"
        )
    found = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(found).any():
        row, value = _first(column, np.isinf(found))
        raise ContractError(
            f"{path}: column {name} holds {value} in row {row}; expected finite numbers; drop such rows"
        )
    return found


def truths(column: "pd.Series[Any]", path: Path, name: str) -> npt.NDArray[np.bool_]:
    """Return a column of true and false, or of 1 and 0, bool (n,); an empty cell is false.

    Text is no truth value: a column of "no" would read as true all the way down.
    """
    if types.is_numeric_dtype(column):
        found = column.to_numpy(dtype=np.float64, na_value=0.0)
        found = np.where(np.isnan(found), 0.0, found)
    else:
        found = np.array([_truth(cell) for cell in column.where(column.notna(), other=False)], dtype=np.float64)
    wrong = ~np.isin(found, (0.0, 1.0))
    if wrong.any():
        row, value = _first(column, wrong)
        instead = f": frame[{name!r}].isin(['true', 'yes'])" if isinstance(value, str) else ""
        raise ContractError(
            f"{path}: column {name} holds {value!r} in row {row}; expected true or false, or 1 or 0{instead}"
        )
    return np.asarray(found == 1, dtype=np.bool_)


def require_categories(column: "pd.Series[Any]", path: Path, name: str) -> None:
    """Refuse a column of which a cell is neither a list nor a text nor empty."""
    wrong = ~_are(column, (str, list, tuple, np.ndarray)) & column.notna().to_numpy()
    if wrong.any():
        row, value = _first(column, wrong)
        raise ContractError(
            f"{path}: column {name} holds {value!r} in row {row}; expected a list of texts, or a text with | between: "
            f"frame[{name!r}].astype(str)"
        )


def cell(column: "pd.Series[Any]", row: int) -> Any:
    """Return a cell as a person writes it: a number, not one of NumPy's."""
    value = column.iloc[row]
    return value.item() if isinstance(value, np.generic) else value


def _plain(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column in the type of its values where it is one of categories."""
    return column.astype(column.cat.categories.dtype) if isinstance(column.dtype, pd.CategoricalDtype) else column


def _require_texts(column: "pd.Series[Any]", path: Path, name: str) -> None:
    # To infer what a column of texts holds makes an object of each: it is asked for where the type leaves it open.
    if not (isinstance(column.dtype, pd.StringDtype) or types.infer_dtype(column) == "string"):
        whole = types.is_float_dtype(column) and bool((column == column.round()).all())
        instead = f": frame[{name!r}].astype('int64')" if whole else f", not {cell(column, 0)!r} as in row 0"
        raise ContractError(f"{path}: column {name} is {column.dtype}; ids are strings or integers{instead}")
    length = column.str.len().to_numpy(dtype=np.int64)
    wrong = (length < 1) | (length > MAX_ID)
    if wrong.any():
        row, _ = _first(column, wrong)
        raise ContractError(
            f"{path}: column {name} holds an id of {length[row]} characters in row {row}; ids have 1 to {MAX_ID}, here "
            "as in events; drop such rows, or name them by a digest"
        )


def _truth(cell: object) -> float:
    """Return 1 and 0 for true and false, 2 for what is neither."""
    return float(cell) if isinstance(cell, bool | np.bool_) else 2.0


def _are(column: "pd.Series[Any]", kinds: tuple[type, ...]) -> npt.NDArray[np.bool_]:
    return np.fromiter((isinstance(cell, kinds) for cell in column), dtype=np.bool_, count=len(column))


def _first(column: "pd.Series[Any]", wrong: "npt.NDArray[np.bool_] | pd.Series[bool]") -> tuple[int, Any]:
    """Return the row and the value of the first cell of some."""
    row = int(np.flatnonzero(wrong)[0])
    return row, cell(column, row)
