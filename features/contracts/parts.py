"""Interactions of a snapshot in parts by user: where a user's rows lie, and the ledger of parts that were rewritten.

All rows of a user lie in one part, so that erasing them rewrites one file. What each rewriting replaced is kept in
`LEDGER` beside the parts: a snapshot stays provable, and how much of it is gone can be told.
"""

import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from features.contracts.errors import ContractError

FOLDER: Final = "interactions"
"""The folder of the parts, within that of a snapshot."""
GONE: Final = "gone"
"""The folder, in parts as well, of what users had that no stored interaction tells any more, where it was asked for."""
LEDGER: Final = "erasures.jsonl"
PARTS: Final = 32
"""Of a snapshot of 25 million rows, a part holds some 40 MB: rewritten in about a second."""

_NAME: Final = re.compile(r"part-(\d{2,})-of-(\d{2,})\.parquet")


class Rewriting(msgspec.Struct, frozen=True):
    """A line of the ledger: a part that a user was taken out of, whom it does not say, or what had become too old.

    Attributes
    ----------
    at
        Aware UTC.
    part
        The file's name.
    rows
        How many rows went.
    old, new
        SHA-256 of the file before and after.
    why
        Whether a user was erased, or rows were older than the retention.
    """

    at: datetime
    part: str
    rows: int
    old: str
    new: str
    why: Literal["erasure", "retention"] = "erasure"


def part_of(user_id: str, parts: int = PARTS) -> int:
    """Return the number of the part that holds a user: CRC-32 of the id's UTF-8, modulo the number of parts.

    >>> part_of("u1"), part_of("u2")
    (22, 12)
    """
    return zlib.crc32(user_id.encode()) % parts


def part_name(number: int, parts: int = PARTS) -> str:
    """Return the name of a part's file.

    >>> part_name(3)
    'part-03-of-32.parquet'
    """
    return f"part-{number:02d}-of-{parts:02d}.parquet"


def whole(folder: Path) -> list[Path]:
    """Return the files of all parts in a folder, in their order.

    Raises
    ------
    ContractError
        If one is missing, or the folder holds none.
    """
    found = {path.name: path for path in folder.iterdir() if _NAME.fullmatch(path.name)}
    parts = parts_in(found)
    if parts is None:
        raise ContractError(f"{folder}: holds no part of a snapshot; expected {part_name(0)} and so on")
    names = [part_name(number, parts) for number in range(parts)]
    if missing := [name for name in names if name not in found]:
        raise ContractError(f"{folder}: {len(missing)} of {parts} parts are missing, first {missing[0]}; copy it again")
    return [found[name] for name in names]


def parts_in(names: Iterable[str]) -> int | None:
    """Return how many parts a snapshot has, of whose files some are named; None where none is.

    >>> parts_in(["part-00-of-16.parquet", "items.parquet"])
    16
    """
    return next((int(match[2]) for name in names if (match := _NAME.fullmatch(name))), None)


def read_ledger(snapshot: Path) -> list[Rewriting]:
    """Return what was rewritten of a snapshot, in order; a line that a dying process left unfinished is left out.

    Raises
    ------
    ContractError
        If a whole line is not one of a ledger.
    """
    file = snapshot / LEDGER
    try:
        *lines, _ = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    try:
        return [msgspec.json.decode(line, type=Rewriting) for line in lines if line.endswith(b"}")]
    except msgspec.DecodeError as error:
        raise ContractError(f"{file}: {error}; expected a line of JSON for each part that was rewritten") from error


def digest_of(sha256: Mapping[str, str]) -> str:
    r"""Return one digest of several files, by those of each: of the lines that `sha256sum` prints, sorted by name.

    >>> digest_of({"b": "00", "a": "ff"}) == hashlib.sha256(b"ff  a\n00  b\n").hexdigest()
    True
    """
    lines = (f"{sha256[name]}  {name}\n" for name in sorted(sha256))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
