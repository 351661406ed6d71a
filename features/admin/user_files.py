"""Files that hold a user: snapshots of training runs and exports, found by their column of user ids.

Snapshots in parts and finished batch lists are written anew without the user; other files are only named.
"""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from features.admin.part_rewriting import why_unread
from features.admin.user_parts import take_out, users_part
from features.admin.walking import files_below, is_folder, part_folders, trouble
from features.contracts.batch import LISTS, SUCCESS
from features.contracts.columns import USER

SCAN_TIMEOUT_S: Final = 120.0
_COMMAND: Final = "erase"


class FileWithUser(msgspec.Struct, frozen=True):
    """A file that holds rows of the user: where it lies, and how many."""

    path: str
    rows: int


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What looking through files found.

    Attributes
    ----------
    folders
        Where it looked.
    files
        How many parquet files with a column of user ids it read; of a snapshot in parts, the one of the user's.
    rewritten
        Parts of snapshots and of finished lists that held the user, with the rows that were taken out; in a dry run,
        that would be.
    holding
        Other files that hold the user. They are left as they are: delete them, or let their retention take them.
    note
        What could not be read or written and why; empty where everything could.
    """

    folders: list[str]
    files: int = 0
    rewritten: list[FileWithUser] = []
    holding: list[FileWithUser] = []
    note: str = ""


class _Wanted(msgspec.Struct, frozen=True):
    """What a process of its own is to look for; by its input, since a list of processes shows arguments."""

    folders: list[str]
    user_id: str
    erase_at: datetime | None


def scan(folders: Iterable[Path], user_id: str, erase_at: datetime | None = None) -> Scan:
    """Return which parquet files below some folders hold a user; without pyarrow, that none was read.

    A server leaves pyarrow out of its process, installed or not: there, one of its own looks.

    Parameters
    ----------
    erase_at
        Aware UTC; the user is taken out of parts of snapshots, and this is noted there as the time. None only looks.
    """
    asked = list(folders)
    if not why_unread(_COMMAND):
        return _scan_here(asked, user_id, erase_at)
    wanted = msgspec.json.encode(_Wanted([str(folder) for folder in asked], user_id, erase_at))
    command = [sys.executable, "-m", "features.admin.user_files"]
    try:
        done = subprocess.run(command, input=wanted, capture_output=True, timeout=SCAN_TIMEOUT_S, check=True)  # noqa: S603  # nothing of the caller's
    except subprocess.SubprocessError as error:
        return Scan(folders=[str(folder) for folder in asked], note=f"not scanned: {error}")
    return msgspec.json.decode(done.stdout, type=Scan)


def main() -> None:
    """Look for what standard input says, and write what was found to standard output."""
    wanted = msgspec.json.decode(sys.stdin.buffer.read(), type=_Wanted)
    if why := why_unread(_COMMAND):
        found = Scan(folders=wanted.folders, note=why)
    else:
        found = _scan_here([Path(folder) for folder in wanted.folders], wanted.user_id, wanted.erase_at)
    sys.stdout.buffer.write(msgspec.json.encode(found))


def _scan_here(asked: Sequence[Path], user_id: str, erase_at: datetime | None) -> Scan:
    found = _Found()
    files = files_below([folder for folder in asked if is_folder(folder, found.broken)], found.broken)
    in_parts = set(part_folders(files))
    for folder in sorted(in_parts):
        found.take_out_of_parts(folder, user_id, erase_at)
    for path in files:
        if path.suffix != ".parquet" or path.parent in in_parts:
            continue
        if _is_of_finished_lists(path):
            found.take_out(path, user_id, erase_at)
        else:
            found.look(path, user_id, found.holding)
    return Scan(
        folders=[str(folder) for folder in asked],
        files=found.files,
        rewritten=found.rewritten,
        holding=found.holding,
        note="; ".join(found.broken),
    )


class _Found:
    """What was found so far, and what could not be read."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.files = 0
        self.rewritten: list[FileWithUser] = []
        self.holding: list[FileWithUser] = []

    def look(self, path: Path, user_id: str, into: list[FileWithUser]) -> bool:
        """Return whether a file holds a user, after noting it in a list."""
        rows = _rows_of(path, user_id)
        if isinstance(rows, str):
            self.broken.append(f"{path}: {rows}")
            return False
        self.files += rows is not None
        if rows:
            into.append(FileWithUser(str(path), rows))
        return bool(rows)

    def take_out_of_parts(self, folder: Path, user_id: str, erase_at: datetime | None) -> None:
        """Take a user out of the one part of a snapshot that may hold them."""
        try:
            part = users_part(folder, user_id)
        except FileNotFoundError:
            return  # removed since it was listed
        except OSError as error:
            self.broken.append(trouble(folder, "not looked into", error))
            return
        if part is None:
            self.broken.append(f"{folder}: the part that would hold the user is missing")
        else:
            self.take_out(part, user_id, erase_at)

    def take_out(self, path: Path, user_id: str, erase_at: datetime | None) -> None:
        """Take a user out of a file, and note it; where that fails, it is noted as one that holds them."""
        import pyarrow as pa  # noqa: PLC0415  # part of the batch image only

        if not self.look(path, user_id, self.rewritten) or erase_at is None:
            return
        try:
            take_out(path, user_id, erase_at)
        except (OSError, pa.ArrowException) as error:
            held = self.rewritten.pop()
            if not isinstance(error, FileNotFoundError) or path.exists():
                self.holding.append(held)
                self.broken.append(trouble(path, "not written anew", error))


def _is_of_finished_lists(path: Path) -> bool:
    """Return whether a file is a part of batch lists that nobody writes any more."""
    return path.parent.name == LISTS and (path.parent.parent / SUCCESS).is_file()


def _rows_of(path: Path, user_id: str) -> int | str | None:
    """Return a file's rows of a user, None where it has no user ids or is gone, or what is wrong with the file."""
    import pyarrow as pa  # noqa: PLC0415  # part of the batch image only
    import pyarrow.compute as pc  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        with pq.ParquetFile(path) as file:
            if USER not in file.schema_arrow.names:
                return None
            found = 0
            for batch in file.iter_batches(columns=[USER]):
                ids = batch.column(0).cast(pa.string())
                found += pc.sum(pc.equal(ids, user_id)).as_py() or 0
            return found
    except FileNotFoundError:  # removed since it was listed
        return None
    except (pa.ArrowException, OSError) as error:  # being written, damaged, or closed to us
        return str(error)[:200]


if __name__ == "__main__":
    main()
