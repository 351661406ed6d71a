"""Columns of interactions, checked and converted whole: what is not of the fast form is looked at value by value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts.mapping_sources import MILLISECONDS_FROM
from features.contracts.plausible import EARLIEST, FUTURE_LIMIT
from features.contracts.times import to_us
from features.landing.bulk.columns import ColumnError, instant
from features.landing.bulk.files import Chunk, Column
from features.landing.bulk.report import EXAMPLES, Report

Mask = npt.NDArray[np.bool_]

BEFORE_1970: Final = "lies before 1970; is it counted in another unit?"
_LONGEST_ID: Final = 256
_LONGEST_EVENT_ID: Final = 64
_ACTION: Final = r"\A[a-z_]{1,32}\z"
_US_PER_S: Final = 1_000_000


@dataclass(slots=True)
class Findings:
    """Which rows of a chunk are bad so far, and the report that is told of each."""

    chunk: Chunk
    report: Report
    bad: Mask = field(init=False)

    def __post_init__(self) -> None:
        """Begin with no bad row."""
        self.bad = np.zeros(self.chunk.rows, dtype=bool)

    def refuse(self, rows: Mask, column: str, message: str) -> None:
        """Note that some rows have a problem in a column."""
        if not rows.any():
            return
        self.bad |= rows
        at = np.flatnonzero(rows)
        values = self.chunk.columns.get(column)
        shown = [(self.chunk.first + row + 1, _value(values, row)) for row in at[:EXAMPLES].tolist()]
        self.report.add(column, message, shown, len(at))


def _value(column: Column | None, row: int) -> Any:
    if column is None:
        return None
    return column[row] if isinstance(column, list) else column[row].as_py()


def read_ids(found: Findings, name: str, *, required: Mask | None = None) -> pa.Array:
    """Return a column of ids as text, null where there is none.

    Parameters
    ----------
    found
        Told of rows that have no proper id.
    name
        The column.
    required
        Rows that must have one; all by default.
    """
    text, is_other = _text(found.chunk.columns[name], numbers=True)
    found.refuse(is_other, name, "expected text or a whole number")
    must = np.ones(len(text), dtype=bool) if required is None else required
    found.refuse(must & _mask(text.is_null()) & ~is_other, name, "missing")
    _check_length(found, name, text, _LONGEST_ID)
    return text


def read_event_ids(found: Findings, name: str) -> pa.Array:
    """Return a column of event ids, null where one is to be derived."""
    text, is_other = _text(found.chunk.columns[name], numbers=True)
    found.refuse(is_other, name, "expected text")
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, text.type), text)
    _check_length(found, name, text, _LONGEST_EVENT_ID)
    return text


def read_actions(found: Findings, name: str) -> pa.Array:
    """Return a column of actions as text."""
    text, is_other = _text(found.chunk.columns[name])
    fits = pc.fill_null(pc.match_substring_regex(text, _ACTION), False)  # noqa: FBT003  # as Arrow has it
    found.refuse(is_other | ~_mask(fits), name, "expected 1 to 32 of a-z and _")
    return text


def other_than(text: pa.Array, word: str) -> Mask:
    """Return which values are another word."""
    return _mask(pc.fill_null(pc.not_equal(text, word), True))  # noqa: FBT003  # as Arrow has it


def _text(column: Column, *, numbers: bool = False) -> tuple[pa.Array, Mask]:
    """Return a column as text, and which rows hold something that is none (nor a whole number, where those will do)."""
    if isinstance(column, list):
        kinds = (str, int) if numbers else (str,)
        proper = [None if value is None or type(value) not in kinds else str(value) for value in column]
        other = [value is not None and text is None for value, text in zip(column, proper, strict=True)]
        return pa.array(proper, pa.string()), np.array(other, dtype=bool)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    form = column.type
    is_text = pa.types.is_string(form) or pa.types.is_large_string(form) or pa.types.is_string_view(form)
    if is_text or pa.types.is_null(form) or (numbers and pa.types.is_integer(form)):
        text = column.cast(pa.string())
        text.validate(full=True)  # parquet does not check that text is UTF-8
        return text, np.zeros(len(text), dtype=bool)
    return pa.nulls(len(column), pa.string()), _mask(column.is_valid())


def _check_length(found: Findings, name: str, text: pa.Array, longest: int) -> None:
    length = pc.fill_null(pc.utf8_length(text), 1).to_numpy(zero_copy_only=False)
    found.refuse((length < 1) | (length > longest), name, f"expected 1 to {longest} characters")
    if _holds_nul(text):
        nul = pc.fill_null(pc.match_substring(text, "\0"), False)  # noqa: FBT003  # as Arrow has it
        found.refuse(_mask(nul), name, "holds the character U+0000, which cannot be stored")


def _holds_nul(text: pa.Array) -> bool:
    data = text.buffers()[2]
    return data is not None and not np.frombuffer(data, dtype=np.uint8).all()


def read_numbers(found: Findings, name: str) -> npt.NDArray[np.float64]:
    """Return a column of finite numbers, NaN where there is none."""
    column = found.chunk.columns[name]
    numbers, is_other = _by_cast(column, [pa.float64()]) or _by_value(column, _number)
    values = np.asarray(numbers, dtype=np.float64)
    found.refuse(is_other, name, "expected a number")
    found.refuse(np.isinf(values), name, "expected a finite number")
    return values + 0.0  # -0.0 is 0.0


def _by_cast(column: Column, forms: Sequence[pa.DataType]) -> tuple[Any, Mask] | None:
    """Return a whole column in the first of some forms that takes it, or None."""
    if isinstance(column, list) or pa.types.is_boolean(column.type):
        return None
    for form in forms:
        try:
            return column.cast(form).to_numpy(zero_copy_only=False), np.zeros(len(column), dtype=bool)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
    return None


def _by_value(column: Column, read: Callable[[Any], float]) -> tuple[list[float], Mask]:
    """Return a column read value by value, NaN where null or refused, and which were refused."""
    values = column if isinstance(column, list) else column.to_pylist()
    numbers, refused = [], np.zeros(len(values), dtype=bool)
    for row, value in enumerate(values):
        try:
            numbers.append(np.nan if value is None else read(value))
        except (TypeError, ValueError, OverflowError):
            numbers.append(np.nan)
            refused[row] = True
    return numbers, refused


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def read_instants(found: Findings, name: str, now: datetime) -> npt.NDArray[np.int64]:
    """Return a column of instants as microseconds since 1970 UTC, 0 where refused.

    Timestamps (naive = UTC), days, ISO 8601 text (naive = UTC), or whole seconds or milliseconds since 1970.
    """
    column = found.chunk.columns[name]
    missing = np.array([v is None for v in column]) if isinstance(column, list) else _mask(column.is_null())
    found.refuse(missing, name, "missing")
    at_us, is_other = _instants(column)
    expected = "expected a timestamp, ISO 8601 text or whole seconds since 1970"
    found.refuse(is_other & ~missing, name, expected)
    told = ~(missing | is_other)
    found.refuse(told & (at_us < to_us(EARLIEST)), name, BEFORE_1970)
    latest = to_us(now + FUTURE_LIMIT)
    found.refuse(told & (at_us > latest), name, after_now(now))
    return np.where(told & (at_us <= latest), at_us, 0)


def after_now(now: datetime) -> str:
    """Return what is wrong with instants too far ahead, in the same words for all of them."""
    return f"lies more than a day after now, {now:%Y-%m-%d %H:%M} UTC"


def _instants(column: Column) -> tuple[npt.NDArray[np.int64], Mask]:
    none = np.zeros(len(column), dtype=bool)
    if isinstance(column, list):
        return _instants_by_value(column)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return _microseconds(column.cast(pa.timestamp("us", getattr(column.type, "tz", None)), safe=False)), none
    if pa.types.is_integer(column.type):
        return _from_numbers(pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)), none
    if pa.types.is_string(column.type):
        for form in (pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.int64()):
            try:
                read = column.cast(form)
            except pa.ArrowInvalid:
                continue
            return (_instants(read)[0] if pa.types.is_integer(form) else _microseconds(read)), none
    return _instants_by_value(column.to_pylist())


def _microseconds(column: pa.Array) -> npt.NDArray[np.int64]:
    numbers: npt.NDArray[np.int64] = pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    return numbers


def _from_numbers(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return instants that are whole seconds or milliseconds; what would overflow becomes the end of time."""
    # Not by np.abs: the smallest whole number has no counterpart, and would come out as itself.
    is_ms = (numbers >= MILLISECONDS_FROM) | (numbers <= -MILLISECONDS_FROM)
    largest = np.iinfo(np.int64).max // 1_000
    in_ms = np.clip(numbers, -largest, largest) * 1_000
    return np.where(is_ms, in_ms, np.where(is_ms, 0, numbers) * _US_PER_S)


def _instants_by_value(values: Sequence[Any]) -> tuple[npt.NDArray[np.int64], Mask]:
    at_us, refused = np.zeros(len(values), dtype=np.int64), np.zeros(len(values), dtype=bool)
    for row, value in enumerate(values):
        try:
            at_us[row] = 0 if value is None else to_us(instant("", value))
        except ColumnError:
            refused[row] = True
    return at_us, refused


def _mask(values: pa.Array) -> Mask:
    mask: Mask = values.to_numpy(zero_copy_only=False).astype(bool)
    return mask
