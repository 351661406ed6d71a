"""Prices and years of items from a catalogue file: its columns, its `attributes`, or the end of a title."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from features.contracts.columns import ATTRIBUTES, FIRST_KNOWN_AT, ITEM, PUBLISHED_AT, TITLE
from features.contracts.facts import ItemFacts
from features.contracts.ids import MISSING, IdMap
from features.facts_of import (
    EARLIEST_YEAR,
    END_OF_TITLE,
    LARGEST_S,
    LATEST_YEAR,
    PRICE,
    START_OF_DATE,
    YEAR_NAMES,
)
from training.frames import read_items

Floats = npt.NDArray[np.float64]


def load_facts(path: Path | None, items: IdMap) -> ItemFacts:
    """Return price and year of items from a parquet file; NaN for items that it lacks.

    The price is the column `price`, else `price` among the `attributes` (JSON text, as snapshots have them). The year
    is the first of `YEAR_NAMES` that says something, as a column or else among the attributes: a year, a date as text,
    a timestamp, or seconds since 1970. Else it is what stands in parentheses at the end of the title, as in
    "Toy Story (1995)", else the year of `published_at`.

    Raises
    ------
    ContractError
        If the file cannot be read or has no `item_id`.
    """
    facts = ItemFacts.unknown(len(items))
    if path is None:
        return facts
    frame = read_items(path)
    rows = items.index_or_missing(frame[ITEM].astype(str))
    frame, rows = frame[rows != MISSING], rows[rows != MISSING]
    said = _attributes(frame)
    price = _first_known([_numbers(source[PRICE]) for source in (frame, said) if PRICE in source], len(rows))
    facts.price[rows] = np.where(price >= 0, price, np.nan)
    facts.year[rows] = _first_known(_years(frame, said), len(rows))
    return facts


def published_after(path: Path | None, items: IdMap, at_us: int) -> npt.NDArray[np.bool_]:
    """Return of which items a parquet file says that they came after a time (`came_at`), bool (len(items),)."""
    return np.asarray(came_at(path, items) > np.datetime64(at_us, "us"))


def came_at(path: Path | None, items: IdMap) -> npt.NDArray[np.datetime64]:
    """Return when a parquet file says that items came, datetime64[us] (len(items),), NaT where nothing tells.

    When they were published, or when the catalogue came to know them if that was later. Those that it began with may
    have been there for long: its beginning tells nothing of them. Both columns may be missing, and hold what a year is
    read from (`load_facts`): what can be read as no time tells nothing.
    """
    came = np.full(len(items), np.datetime64("NaT", "us"))
    if path is None:
        return came
    frame = read_items(path)
    published, known = _times(frame, PUBLISHED_AT), _times(frame, FIRST_KNOWN_AT)
    begun = np.fmin.reduce(known, initial=np.datetime64("NaT", "us"))
    rows = items.index_or_missing(frame[ITEM].astype(str))
    told = np.fmax(published, np.where(known > begun, known, np.datetime64("NaT", "us")))
    came[rows[rows != MISSING]] = told[rows != MISSING]
    return came


def _times(frame: pd.DataFrame, name: str) -> npt.NDArray[np.datetime64]:
    """Return a column of times, NaT where it tells none: timestamps, dates as text, years, or times since 1970."""
    told = frame[name] if name in frame else pd.Series(pd.NaT, frame.index)
    if types.is_numeric_dtype(told):
        return _from_numbers(_numbers(told))
    if types.is_datetime64_any_dtype(told):
        return pd.to_datetime(told, utc=True).to_numpy(dtype="datetime64[us]")
    return pd.to_datetime(told, utc=True, format="mixed", errors="coerce").to_numpy(dtype="datetime64[us]")


def _from_numbers(number: Floats) -> npt.NDArray[np.datetime64]:
    """Return the beginning of years, and times of seconds or milliseconds since 1970; NaT where it is neither."""
    year, seconds = _is_year(number), _seconds(number)
    told = year | (np.abs(seconds) <= LARGEST_S)
    years = np.where(year, number - 1970, 0).astype("datetime64[Y]").astype("datetime64[us]")
    times = np.where(told, seconds, 0).astype("datetime64[s]").astype("datetime64[us]")
    return np.where(told, np.where(year, years, times), np.datetime64("NaT", "us"))


def _attributes(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the members of `attributes` that are read here, a column each; what is no JSON object says nothing."""
    entries = [json_object(entry) for entry in frame[ATTRIBUTES]] if ATTRIBUTES in frame else []
    names = [name for name in (PRICE, *YEAR_NAMES) if any(name in entry for entry in entries)]
    columns = {name: pd.Series([entry.get(name) for entry in entries], dtype=object) for name in names}
    return pd.DataFrame(columns)


def json_object(entry: object) -> dict[str, Any]:
    """Return the JSON object that a cell holds as text, an empty one where it holds anything else."""
    if not isinstance(entry, str):
        return {}
    try:
        return msgspec.json.decode(entry, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _years(frame: pd.DataFrame, said: pd.DataFrame) -> list[Floats]:
    """Return years as each place has them, the place that is to be believed first."""
    found = [_year_of(source[name]) for name in YEAR_NAMES for source in (frame, said) if name in source]
    if TITLE in frame:
        found.append(_numbers(frame[TITLE].astype(str).str.extract(END_OF_TITLE)[0]))
    if PUBLISHED_AT in frame:
        found.append(_year_of(frame[PUBLISHED_AT]))
    return found


def _year_of(column: "pd.Series[Any]") -> Floats:
    """Return the years that a column tells, NaN where none; there is no year 0."""
    if types.is_datetime64_any_dtype(column):
        return _numbers(column.dt.year)
    number = _numbers(column)
    seconds = np.nan_to_num(_seconds(number))
    from_time = seconds.astype("datetime64[s]").astype("datetime64[Y]").astype(np.float64) + 1970
    from_text = _numbers(column.astype(str).str.extract(START_OF_DATE)[0])
    year = np.select([np.isnan(number), _is_year(number)], [from_text, number], from_time)
    return np.where(year == 0, np.nan, year)


def _is_year(number: Floats) -> npt.NDArray[np.bool_]:
    """Return which numbers are years: others are times since 1970."""
    return np.asarray((number >= EARLIEST_YEAR) & (number <= LATEST_YEAR))


def _seconds(number: Floats) -> Floats:
    """Return times since 1970 in seconds."""
    return np.where(np.abs(number) > LARGEST_S, number / 1000, number)


def _numbers(column: "pd.Series[Any]") -> Floats:
    """Return a column as numbers, NaN where it holds none."""
    number = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(number), number, np.nan)


def _first_known(columns: Sequence[Floats], size: int) -> Floats:
    """Return the first number of each row that is not NaN."""
    known = np.full(size, np.nan)
    for column in columns:
        known = np.where(np.isnan(known), column, known)
    return known
