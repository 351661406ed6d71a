"""Whether enough is new for another training, besides the one of every night."""

from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from features.contracts.times import EPOCH
from training.steps.state import StepRecord, write_atomically

NOTE: Final = "due.json"
"""In the work folder: when a training was last called due."""


class _Note(msgspec.Struct, frozen=True):
    called_at: datetime


def last_training(work_dir: Path) -> datetime:
    """Return when a run last took its data, or was last called for; the epoch where neither ever was.

    A run that is under way counts from its snapshot on, one that was refused as well: neither sets off another at once.
    """
    snapshots = [_finished_at(file) for file in work_dir.glob("*/snapshot.json")]
    return max([EPOCH, _called_at(work_dir / NOTE), *snapshots])


def call(work_dir: Path, now: datetime) -> None:
    """Note that a training was called for, so that what landed before does not call for another."""
    work_dir.mkdir(parents=True, exist_ok=True)
    write_atomically(work_dir / NOTE, msgspec.json.encode(_Note(now)))


def _finished_at(file: Path) -> datetime:
    """Return when a snapshot was taken; of files that cannot be read, never."""
    try:
        return datetime.fromisoformat(msgspec.json.decode(file.read_bytes(), type=StepRecord).finished_at)
    except (OSError, ValueError):
        return EPOCH


def _called_at(file: Path) -> datetime:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Note).called_at
    except (OSError, ValueError):
        return EPOCH
