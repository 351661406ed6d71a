"""Rows of parquet, CSV and JSONL files, some at a time, in columns under the names that we give them."""

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from features.contracts.errors import ContractError
from features.contracts.event_problems import UNREADABLE
from features.contracts.nesting import MAX_DEPTH, depth_of, may_be_deep, told_deep

ROWS_AT_ONCE: Final = 100_000
"""Rows of one transaction: large enough for speed, small enough that an interruption loses a second or two of work."""
_CSV_BLOCK: Final = 4 << 20
"""Bytes of CSV parsed at a time: some 100,000 short rows."""

Column: TypeAlias = pa.Array | list[Any]
"""Values of one type, or Python values of several where JSON has them."""


class FileError(ContractError):
    """A file cannot be imported: the message names file, row, column and value."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive rows of a file.

    Attributes
    ----------
    first
        How many rows of the file stand before them.
    columns
        Their values by column, under our names.
    rows
        How many they are.
    """

    first: int
    columns: Mapping[str, Column]
    rows: int

    def dicts(self) -> Iterator[dict[str, Any]]:
        """Yield each row as Python values by column."""
        values = [column if isinstance(column, list) else column.to_pylist() for column in self.columns.values()]
        for row in zip(*values, strict=True):
            yield dict(zip(self.columns, row, strict=True))


@dataclass(frozen=True, slots=True)
class Table:
    """An open file.

    Attributes
    ----------
    path
        The file.
    columns
        Names of its columns, as we call them; of JSONL those of the first row.
    rows
        How many rows it has; for text an upper bound, since there may be empty lines and CSV may hold line breaks.
    names
        Its own names of the columns that we call otherwise.
    """

    path: Path
    columns: tuple[str, ...]
    rows: int
    names: Mapping[str, str] = field(default_factory=dict)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows, `ROWS_AT_ONCE` at a time; the same chunks each time. Of CSV, all values are text or None.

        Raises
        ------
        FileError
            If the file breaks off or is malformed.
        """
        first = 0
        try:
            for columns, rows in _CHUNKS[_format(self.path)](self.path):
                named = {self.names.get(name, name): column for name, column in columns.items()}
                yield Chunk(first, named, rows)
                first += rows
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise FileError(f"{self.path}: {error}") from error

    def digest(self) -> bytes:
        """Return 32 bytes that tell this file, and what its columns are called, from any other."""
        with self.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256")
        content.update(msgspec.json.encode(sorted(self.names.items())))
        return content.digest()


def open_table(path: Path, names: Mapping[str, str] | None = None) -> Table:
    """Return an open file: parquet by its first bytes, JSONL by a first `{`, and CSV otherwise.

    Parameters
    ----------
    path
        The file.
    names
        What to call columns, by their names in the file; those that it does not have are passed over.

    Raises
    ------
    FileError
        If there is no such file, it is empty or malformed, or two columns would have one name.
    """
    try:
        columns, rows = _HEADS[_format(path)](path)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise FileError(f"{path}: {error}; expected a parquet, CSV or JSONL file") from error
    used = {name: ours for name, ours in (names or {}).items() if name in columns}
    ours = tuple(used.get(name, name) for name in columns)
    if twice := sorted({name for name in ours if ours.count(name) > 1}):
        raise FileError(f"{path}: two columns would be {', '.join(twice)}: {', '.join(columns)}")
    return Table(path, ours, rows, used)


def _format(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(256)
    if start.startswith(b"PAR1"):
        return "parquet"
    return "jsonl" if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") else "csv"


def _parquet_head(path: Path) -> tuple[tuple[str, ...], int]:
    file = pq.ParquetFile(path)
    return tuple(file.schema_arrow.names), file.metadata.num_rows


def _csv_head(path: Path) -> tuple[tuple[str, ...], int]:
    with path.open(newline="", encoding="utf-8-sig") as text:
        columns = tuple(next(csv.reader(text), ()))
    if not columns:
        raise FileError(f"{path}: empty; expected parquet, JSONL, or CSV with a first line of column names")
    return columns, _count_lines(path) - 1


def _jsonl_head(path: Path) -> tuple[tuple[str, ...], int]:
    with path.open(encoding="utf-8-sig") as text:
        first = next(line for line in text if line.strip())
    return tuple(_object(path, 1, first)), _count_lines(path)


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 20), b"")) + _open_end(path)


def _open_end(path: Path) -> int:
    """Return 1 if the last line does not end as lines do."""
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"


def _parquet_chunks(path: Path) -> Iterator[tuple[dict[str, Column], int]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
            yield _columns(batch), batch.num_rows


def _csv_chunks(path: Path) -> Iterator[tuple[dict[str, Column], int]]:
    # Everything as text: an id "007" is not the number 7.
    convert = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(_csv_head(path)[0], pa.string()), null_values=[""], strings_can_be_null=True
    )
    with pa_csv.open_csv(
        path,
        read_options=pa_csv.ReadOptions(block_size=_CSV_BLOCK),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=convert,
    ) as reader:
        for batch in reader:
            for start in range(0, batch.num_rows, ROWS_AT_ONCE):
                part = batch.slice(start, ROWS_AT_ONCE)
                yield _columns(part), part.num_rows


def _columns(batch: pa.RecordBatch) -> dict[str, Column]:
    return dict(zip(batch.schema.names, batch.columns, strict=True))


def _jsonl_chunks(path: Path) -> Iterator[tuple[dict[str, Column], int]]:
    first, _ = _jsonl_head(path)
    with path.open(encoding="utf-8-sig") as text:
        lines = ((number, line) for number, line in enumerate(text, 1) if line.strip())
        while some := list(islice(lines, ROWS_AT_ONCE)):
            rows = [_object(path, number, line) for number, line in some]
            names = dict.fromkeys((*first, *(name for row in rows for name in row)))
            yield {name: _typed([row.get(name) for row in rows]) for name in names}, len(rows)


def _typed(values: list[Any]) -> Column:
    """Return values as an array where they are all text, all whole numbers or all numbers, and null."""
    kinds = {type(value) for value in values} - {type(None)}
    for form, arrow in (({str}, pa.string()), ({int}, pa.int64()), ({float}, pa.float64())):
        if kinds == form:
            try:
                return pa.array(values, arrow)
            except (pa.ArrowException, OverflowError):  # whole numbers beyond 64 bits, as ids may be
                return values
    return values


def _object(path: Path, line_number: int, line: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    except UNREADABLE as error:
        raise FileError(f"{path}: line {line_number}: {error}; expected one JSON object a line") from None
    if may_be_deep(line.encode()) and (levels := depth_of(found)) > MAX_DEPTH:
        raise FileError(f"{path}: line {line_number}: {told_deep(levels)}")
    return found


_HEADS: Final = {"parquet": _parquet_head, "csv": _csv_head, "jsonl": _jsonl_head}
_CHUNKS: Final = {"parquet": _parquet_chunks, "csv": _csv_chunks, "jsonl": _jsonl_chunks}
