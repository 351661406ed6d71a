"""Taking a user out of the snapshots of training runs: one part of each is written anew, and its ledger says so.

However the process ends, the part is the old one or the new one, and the ledger names the hash of either: it is
written before the new part takes the old one's place.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

from features.contracts.columns import USER
from features.contracts.hashes import sha256_of
from features.contracts.parts import FOLDER, LEDGER, Rewriting, part_name, part_of, parts_in
from features.failpoints import failpoint

if TYPE_CHECKING:
    import pyarrow as pa

_DRAFTS: Final = ".part-*.new"
"""Not `*.parquet`: what reads a folder of parts passes them by."""


def part_folders(folders: Iterable[Path]) -> Iterator[Path]:
    """Yield the folders of parts below some folders."""
    for folder in folders:
        for found in sorted(folder.rglob(FOLDER)):
            if found.is_dir() and parts_in(path.name for path in found.iterdir()) is not None:
                yield found


def users_part(folder: Path, user_id: str) -> Path | None:
    """Return the file among a snapshot's parts that may hold a user, None where there is no such file."""
    parts = parts_in(path.name for path in folder.iterdir())
    if parts is None:
        return None
    file = folder / part_name(part_of(user_id, parts), parts)
    return file if file.is_file() else None


def take_out(part: Path, user_id: str, at: datetime) -> int:
    """Return how many rows of a user were taken out of a part; 0 leaves it as it is.

    Raises
    ------
    OSError, pyarrow.ArrowInvalid
        If the part cannot be read, or nothing can be written beside it.
    """
    with _ledger_of(part.parent.parent) as ledger:
        # What a process left that died before it had put its new part in place holds other users.
        for left in part.parent.glob(_DRAFTS):
            left.unlink()
        draft = part.with_name(f".{part.name}.new")
        gone = _without(part, user_id, draft)
        if not gone:
            draft.unlink()
            return 0
        failpoint("after_part")
        _note(ledger, Rewriting(at, part.name, gone, sha256_of(part), sha256_of(draft)))
        failpoint("after_ledger")
        draft.replace(part)
        _sync_folder(part.parent)
    return gone


@contextmanager
def _ledger_of(snapshot: Path) -> Iterator[BinaryIO]:
    """Open the ledger for one process at a time: two erasures may meet in one part."""
    with (snapshot / LEDGER).open("a+b") as ledger:
        fcntl.flock(ledger, fcntl.LOCK_EX)
        yield ledger


def _note(ledger: BinaryIO, line: Rewriting) -> None:
    """Append a line, and have it on disk; behind one that a dying process did not finish, on a line of its own."""
    end = ledger.seek(0, os.SEEK_END)
    ledger.seek(max(end - 1, 0))
    begin = b"" if ledger.read(1) in (b"", b"\n") else b"\n"
    ledger.write(begin + msgspec.json.encode(line) + b"\n")
    ledger.flush()
    os.fsync(ledger.fileno())


def _without(part: Path, user_id: str, draft: Path) -> int:
    """Write a part's rows but those of a user, one row group at a time, and return how many those were."""
    import pyarrow.parquet as pq  # noqa: PLC0415  # part of the batch image only

    gone = 0
    with pq.ParquetFile(part) as file, draft.open("wb") as stream:
        with pq.ParquetWriter(stream, file.schema_arrow, compression="zstd") as writer:
            for number in range(file.num_row_groups):
                rows = file.read_row_group(number)
                kept = _of_others(rows, user_id)
                gone += len(rows) - len(kept)
                writer.write_table(kept)
        stream.flush()
        os.fsync(stream.fileno())
    return gone


def _of_others(rows: "pa.Table", user_id: str) -> "pa.Table":
    import pyarrow.compute as pc  # noqa: PLC0415

    return rows.filter(pc.not_equal(rows[USER], user_id))


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
