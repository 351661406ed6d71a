"""Writing a part of a snapshot anew without some of its rows, which the snapshot's ledger says.

However the process ends, the part is the old one or the new one, and the ledger names the hash of either: it is
written before the new part takes the old one's place.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Literal

import msgspec

from features.contracts.hashes import sha256_of
from features.contracts.parts import LEDGER, Rewriting
from features.failpoints import failpoint

if TYPE_CHECKING:
    import pyarrow as pa

_DRAFTS: Final = ".part-*.new"
"""Not `*.parquet`: what reads a folder of parts passes them by."""


def why_unread(command: str) -> str:
    """Return why no parquet file can be read here, and which command of ours reads them; empty where they can be."""
    if find_spec("pyarrow") is not None:
        return ""
    return f"not read: pyarrow is not installed here; run `python -m features {command}` in the batch image"


def rewrite(
    part: Path, keep: "Callable[[pa.Table], pa.Table]", at: datetime, why: Literal["erasure", "retention"]
) -> int:
    """Return how many rows were taken out of a part; 0 leaves it as it is.

    Parameters
    ----------
    keep
        Returns those rows of a row group that stay.
    at, why
        Noted in the ledger; aware UTC.

    Raises
    ------
    OSError, pyarrow.ArrowInvalid
        If the part cannot be read, or nothing can be written beside it.
    """
    with _ledger_of(part.parent.parent) as ledger:
        # What a process left that died before it had put its new part in place holds rows that are to go.
        for left in part.parent.glob(_DRAFTS):
            left.unlink()
        draft = part.with_name(f".{part.name}.new")
        gone = _draft(part, keep, draft)
        if not gone:
            draft.unlink()
            return 0
        failpoint("after_part")
        _note(ledger, Rewriting(at, part.name, gone, sha256_of(part), sha256_of(draft), why))
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


def _draft(part: Path, keep: "Callable[[pa.Table], pa.Table]", draft: Path) -> int:
    """Write the rows of a part that stay, one row group at a time, and return how many do not."""
    import pyarrow.parquet as pq  # noqa: PLC0415  # part of the batch image only

    gone = 0
    with pq.ParquetFile(part) as file, draft.open("wb") as stream:
        with pq.ParquetWriter(stream, file.schema_arrow, compression="zstd") as writer:
            for number in range(file.num_row_groups):
                rows = file.read_row_group(number)
                kept = keep(rows)
                gone += len(rows) - len(kept)
                writer.write_table(kept)
        stream.flush()
        os.fsync(stream.fileno())
    return gone


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
