"""Writing the interactions of a snapshot as parts by user."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts.columns import USER
from features.contracts.parts import PARTS, part_name, part_of

ROWS_OF_A_GROUP: Final = 16_384
"""Rows of a part that are held until they are written together: small row groups are slow to read."""


class PartFiles:
    """The files of all parts of a snapshot, open for writing; a context manager, that closes them.

    Parameters
    ----------
    folder
        Of the parts; it must exist.
    schema
        Of the rows; they have a column of user ids.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._files = ExitStack()
        self._parts = {
            name: _Part(self._files.enter_context(pq.ParquetWriter(folder / name, schema, compression="zstd")))
            for name in map(part_name, range(PARTS))
        }

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what was gathered, and close the files."""
        with self._files:
            for part in self._parts.values():
                part.flush()

    @property
    def rows(self) -> dict[str, int]:
        """Return how many rows each part was given, by the name of its file."""
        return {name: part.rows for name, part in self._parts.items()}

    def write(self, rows: pa.Table) -> None:
        """Give each row to the part of its user, in the order of the rows."""
        number = np.fromiter(map(part_of, rows[USER].to_pylist()), np.int64, len(rows))
        ordered = rows.take(pa.array(np.argsort(number, kind="stable")))
        ends = np.cumsum(np.bincount(number, minlength=PARTS)).tolist()
        for part, start, end in zip(self._parts.values(), [0, *ends[:-1]], ends, strict=True):
            part.add(ordered.slice(start, end - start))


class _Part:
    """The file of one part; rows are gathered until there are enough for a row group."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._gathered: list[pa.Table] = []
        self._waiting = 0
        self.rows = 0

    def add(self, rows: pa.Table) -> None:
        """Take rows, and write those gathered where they are enough."""
        self._gathered.append(rows)
        self._waiting += len(rows)
        self.rows += len(rows)
        if self._waiting >= ROWS_OF_A_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._gathered))
        self._gathered, self._waiting = [], 0
