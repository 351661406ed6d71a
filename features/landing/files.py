"""Rows of parquet and CSV files, as plain values by column, without holding a file in memory."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from features.contracts.errors import ContractError

ROWS_AT_ONCE: Final = 20_000
"""Rows of one transaction: large enough for speed, small enough that an interruption loses a second of work."""


class FileError(ContractError):
    """A file cannot be imported: the message names file, row, column and value."""


@dataclass(frozen=True, slots=True)
class Table:
    """An open file.

    Attributes
    ----------
    path
        The file.
    columns
        Names of its columns.
    rows
        How many rows it has; for CSV an upper bound, since text may hold line breaks.
    """

    path: Path
    columns: tuple[str, ...]
    rows: int

    def chunks(self) -> Iterator[dict[str, list[Any]]]:
        """Yield some rows at a time as lists of Python values by column; of CSV, all values are text or None.

        Raises
        ------
        FileError
            If the file breaks off or is malformed.
        """
        batches = _parquet_batches(self.path) if _is_parquet(self.path) else _csv_batches(self.path, self.columns)
        try:
            for batch in batches:
                for start in range(0, batch.num_rows, ROWS_AT_ONCE):
                    yield batch.slice(start, ROWS_AT_ONCE).to_pydict()
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise FileError(f"{self.path}: {error}") from error


def open_table(path: Path) -> Table:
    """Return an open file, parquet by its first bytes and CSV otherwise.

    Raises
    ------
    FileError
        If there is no such file, or it is empty or malformed.
    """
    try:
        if _is_parquet(path):
            file = pq.ParquetFile(path)
            return Table(path, tuple(file.schema_arrow.names), file.metadata.num_rows)
        with path.open(newline="", encoding="utf-8-sig") as text:
            columns = tuple(next(csv.reader(text), ()))
        if not columns:
            raise FileError(f"{path}: empty; expected parquet, or CSV with a first line of column names")
        return Table(path, columns, _count_lines(path) - 1)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise FileError(f"{path}: {error}; expected a parquet or CSV file") from error


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 20), b""))


def _parquet_batches(path: Path) -> Iterator[pa.RecordBatch]:
    yield from pq.ParquetFile(path).iter_batches(batch_size=ROWS_AT_ONCE)


def _csv_batches(path: Path, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    # Everything as text: an id "007" is not the number 7.
    convert = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(columns, pa.string()), null_values=[""], strings_can_be_null=True
    )
    with pa_csv.open_csv(
        path, parse_options=pa_csv.ParseOptions(newlines_in_values=True), convert_options=convert
    ) as reader:
        yield from reader
