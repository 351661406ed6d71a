"""Parquet files of an export: one a day, or one for all."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.contracts.hashes import sha256_of

DAY_US: Final = 86_400_000_000
PART: Final = "part-0.parquet"


class FileInfo(msgspec.Struct, frozen=True):
    """One file of an export; `path` is relative to its kind's folder."""

    path: str
    rows: int
    bytes: int
    sha256: str


class WholeWriter:
    """Writes all rows to one file; a context manager. Without rows there is an empty file, which has the columns."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.files: list[FileInfo] = []
        self._folder = folder
        self._schema = schema
        self._open: pq.ParquetWriter | None = None
        self._path = folder / PART
        self._rows = 0

    def __enter__(self) -> Self:
        """Return itself."""
        self._begin(self._folder / PART)
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the last file."""
        self._finish()

    def write(self, table: pa.Table) -> None:
        """Write some rows."""
        self._append(table)

    def _begin(self, path: Path) -> None:
        self._finish()
        path.parent.mkdir(exist_ok=True)
        self._path, self._rows = path, 0
        self._open = pq.ParquetWriter(path, self._schema, compression="zstd")

    def _append(self, table: pa.Table) -> None:
        assert self._open is not None  # noqa: S101  # begun before
        self._open.write_table(table)
        self._rows += len(table)

    def _finish(self) -> None:
        if self._open is None:
            return
        self._open.close()
        self._open = None
        path = self._path.relative_to(self._folder).as_posix()
        self.files.append(FileInfo(path, self._rows, self._path.stat().st_size, sha256_of(self._path)))


class DayWriter(WholeWriter):
    """Writes rows that come by `occurred_at` to one file for each UTC day."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        super().__init__(folder, schema)
        self._day: int | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def write(self, table: pa.Table) -> None:
        """Write some rows, none of which occurred before any that were written."""
        at_us = pc.cast(table["occurred_at"], pa.int64()).to_numpy()
        days = at_us // DAY_US
        starts = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(days)], strict=True):
            if (day := int(days[start])) != self._day:
                self._begin(self._folder / f"day={_name(day)}" / PART)
                self._day = day
            self._append(table.slice(start, end - start))


def _name(day: int) -> str:
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day):%Y-%m-%d}"
