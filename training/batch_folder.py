"""The folder that a batch of lists is written into, part by part: a run that was killed goes on where it was."""

import fcntl
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.contracts.batch import ANNOUNCED, LISTS, RUN, SUCCESS, BatchDone, BatchRun, part_name
from features.contracts.columns import USER
from features.contracts.errors import ContractError
from features.contracts.parts import GONE
from training.steps.folders import fresh_folder
from training.steps.state import write_atomically

_WORK: Final = "_work"
_NOT_SHOWN: Final = f"{_WORK}/not_shown.json"
_LOCK: Final = ".lock"

_T = TypeVar("_T")


class BatchError(ContractError):
    """A folder cannot take the lists that were asked for."""


class BatchFolder:
    """What a batch wrote so far. Each file is there whole or not at all, and `_SUCCESS` comes last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lists = path / LISTS

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one process; the kernel drops the lock with it, however it ends.

        Raises
        ------
        BatchError
            If another process writes into it now, or a file of an earlier version of this command stands in the way.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if self.lists.is_file():
            raise BatchError(f"{self.lists} is a file; lists are written as parts into a folder of that name. Move it.")
        with (self.path / _LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BatchError(
                    f"{self.path}: another process writes lists into it now. Wait for it, stop it, or choose another "
                    "folder."
                ) from None
            yield

    def run(self) -> BatchRun | None:
        """Return what the lists here are made of, None where no batch was begun."""
        return self._read(RUN, BatchRun)

    def done(self) -> BatchDone | None:
        """Return what a finished batch holds, None where it is not finished."""
        return self._read(SUCCESS, BatchDone)

    def _read(self, name: str, kind: type[_T]) -> _T | None:
        try:
            return msgspec.json.decode((self.path / name).read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise BatchError(
                f"{self.path / name}: {error}. Choose another folder, or replace it by --restart."
            ) from error

    @property
    def announced(self) -> bool:
        """Return whether the lists here were announced."""
        return (self.path / ANNOUNCED).exists()

    def note_announced(self) -> None:
        """Note that they were: asked for them again, they are not announced again."""
        (self.path / ANNOUNCED).touch()

    def clear(self) -> None:
        """Remove all that a batch wrote here, its records first: what is left then counts for nothing."""
        for record in (ANNOUNCED, SUCCESS, RUN):
            (self.path / record).unlink(missing_ok=True)
        shutil.rmtree(self.lists, ignore_errors=True)
        self.drop_inputs()

    def fresh_inputs(self) -> Path:
        """Return an empty folder for what is scored: it stays as it is until the batch is finished."""
        return fresh_folder(self.inputs)

    @property
    def inputs(self) -> Path:
        """Return the folder of what is scored."""
        return self.path / _WORK

    def note_not_shown(self, item_ids: Sequence[str]) -> None:
        """Write which items may not be shown, beside what is scored."""
        write_atomically(self.path / _NOT_SHOWN, _pretty(item_ids))

    def not_shown(self) -> list[str] | None:
        """Return the ids of items that may not be shown; None where none, or an earlier version, began."""
        return self._read(_NOT_SHOWN, list[str])

    @property
    def has_inputs(self) -> bool:
        """Return whether all is there that lists are made from, as this version writes it."""
        return self.not_shown() is not None and (self.inputs / GONE).is_dir()

    def drop_inputs(self) -> None:
        """Remove what was scored."""
        shutil.rmtree(self.inputs, ignore_errors=True)

    def begin(self, run: BatchRun) -> None:
        """Write what the lists are made of: from here on a batch is resumed, not begun anew."""
        fresh_folder(self.lists)
        write_atomically(self.path / RUN, _pretty(run))

    def missing(self, run: BatchRun) -> list[int]:
        """Return the numbers of the parts that are not there yet."""
        return [number for number in range(run.parts) if not (self.lists / part_name(number)).exists()]

    def write_part(self, number: int, table: pa.Table) -> None:
        """Write one part, at once or not at all."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        write_atomically(self.lists / part_name(number), sink.getvalue().to_pybytes())

    def users(self, run: BatchRun) -> list[str]:
        """Return whose lists the parts hold."""
        parts = (self.lists / part_name(number) for number in range(run.parts))
        return [user for part in parts for user in pq.read_table(part, columns=[USER])[USER].unique().to_pylist()]

    def take_out(self, run: BatchRun, users: Collection[str]) -> None:
        """Write the parts anew that hold lists of some users, without them."""
        unwanted = pa.array(sorted(users), pa.string())
        for number in range(run.parts if users else 0):
            with pq.ParquetFile(self.lists / part_name(number)) as part:
                table = part.read()
            kept = table.filter(pc.invert(pc.is_in(table[USER], unwanted)))
            if len(kept) < len(table):
                self.write_part(number, kept)

    def counted(self, run: BatchRun, finished_at: datetime) -> BatchDone:
        """Return what the parts hold."""
        rows = lists = 0
        for number in range(run.parts):
            with pq.ParquetFile(self.lists / part_name(number)) as part:
                rows += part.metadata.num_rows
                lists += part.metadata.num_rows and len(part.read([USER]).column(0).unique())
        return BatchDone(run, lists, rows, run.parts, finished_at)

    def finish(self, done: BatchDone) -> None:
        """Write that all lists are there, and what they hold: from here on erasures take users out of them."""
        write_atomically(self.path / SUCCESS, _pretty(done))

    def tidy(self) -> None:
        """Remove what a finished batch needs no more: what was scored, and drafts of processes that were killed."""
        self.drop_inputs()
        for draft in self.lists.glob(".*"):
            draft.unlink(missing_ok=True)


def _pretty(record: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record)) + b"\n"
