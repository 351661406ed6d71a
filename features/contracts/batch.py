"""Lists of many users as a folder: what batch scoring writes, and what reads or announces them goes by.

`recommendations.parquet/` holds the parts, `_run.json` says what they are made of, and `_SUCCESS` comes last.
"""

import json
import uuid
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from features.contracts.times import to_us

LISTS: Final = "recommendations.parquet"
"""The folder of the parts: dataset readers take it, or the folder around it, as one table."""
RUN: Final = "_run.json"
SUCCESS: Final = "_SUCCESS"
ANNOUNCED: Final = "_ANNOUNCED"
"""Beside it once the lists were announced."""
WRITTEN: Final = "batch_folders.txt"
"""In the work folder: a line for each folder that lists were written into, wherever it lies; erasures look there.

A line is a JSON text, for a path may hold line breaks, and bytes that are no UTF-8; earlier versions wrote the path.
"""

_NAMESPACE: Final = uuid.UUID("6f0c1d6e-5a51-5d0b-9a53-0b7c8a2f4e11")


class BatchRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the lists of one batch are made of.

    Attributes
    ----------
    model_id, version, digest
        The registered model, its version, and the digest of that version's bundle.
    as_of
        Only what was known before it was read, aware UTC.
    k
        Items in each list, at most.
    fresh_share, diversity
        As in `Options`.
    users, users_file
        How many users, and the SHA-256 of the ids where they were given; None for everyone with an event.
    part_users
        Users of each part, the last one may have fewer; about so many where ids decide.
    by_id
        Whether a user's id decides on their part: an erasure takes users out of what is scored, and those behind them
        must not move to other parts in a batch that goes on. Otherwise their place among the users decides.
    """

    model_id: str
    version: str
    digest: str
    as_of: datetime
    k: int
    fresh_share: float
    diversity: float
    users: int
    users_file: str | None
    part_users: int
    by_id: bool = False

    @property
    def parts(self) -> int:
        """Return the number of parts."""
        return -(-self.users // self.part_users)

    def recommendation_id(self, user_id: str) -> str:
        """Return the id of a user's list: the same bundle, moment and options give the same id."""
        name = f"{self.digest}/{to_us(self.as_of)}/{self.k}/{self.fresh_share}/{self.diversity}/{user_id}"
        return str(uuid.uuid5(_NAMESPACE, name))


class BatchDone(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A finished batch: what it is made of, and what its parts hold."""

    run: BatchRun
    lists: int
    rows: int
    parts: int
    finished_at: datetime


def part_name(number: int) -> str:
    """Return the name of a part's file, in the order of the users.

    >>> part_name(3)
    'part-00003.parquet'
    """
    return f"part-{number:05d}.parquet"


def remember_folder(work_dir: Path, folder: Path) -> None:
    """Note that lists of users are written into a folder; again changes nothing."""
    if folder.resolve() not in written_folders(work_dir):
        work_dir.mkdir(parents=True, exist_ok=True)
        with (work_dir / WRITTEN).open("a", encoding="ascii") as notes:
            notes.write(f"{json.dumps(str(folder.resolve()))}\n")


def written_folders(work_dir: Path) -> list[Path]:
    """Return the folders that lists were written into, in order; some may be gone since."""
    try:
        lines = (work_dir / WRITTEN).read_bytes().decode().split("\n")
    except FileNotFoundError:
        return []
    return [Path(json.loads(line) if line.startswith('"') else line) for line in lines if line]
