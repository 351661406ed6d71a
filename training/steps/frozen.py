"""The snapshot of a finished run, proved to be what the run saw, and handed to another run."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow.parquet as pq

from features.contracts.errors import ContractError
from features.contracts.hashes import sha256_of
from features.contracts.parts import FOLDER, LEDGER, Rewriting, digest_of, read_ledger
from training.steps.inputs import DIGEST, FILES, JUDGED_FROM, ROWS, SNAPSHOT, TRAINED_UNTIL
from training.steps.options import FILE as OPTIONS
from training.steps.state import RunFolder

_TUNING: Final = "tuning"


class SnapshotGoneError(ContractError):
    """The data that a run saw is not there any more, or not as the run saw it."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A snapshot as it is now.

    Attributes
    ----------
    digest
        Over all files as the run saw them.
    files
        SHA-256 of each file now, by its path in the snapshot.
    rows
        Interactions of each part now, by file name.
    erased_rows
        How many interactions were taken out since.
    expired_rows
        How many of these because they were older than the retention; the others were of erased users.
    """

    digest: str
    files: Mapping[str, str]
    rows: Mapping[str, int]
    erased_rows: int
    expired_rows: int = 0


def verify_snapshot(run: RunFolder) -> Frozen:
    """Return what a run's snapshot holds, every file compared with the hash that the run recorded.

    A part that an erasure has rewritten since is the one that the ledger leads to.

    Raises
    ------
    SnapshotGoneError
        If the run's folder or a file is gone, or a file is neither as recorded nor as the ledger has it.
    """
    snapshot = run.path / SNAPSHOT
    record = run.record("snapshot")
    if record is None or not snapshot.is_dir():
        raise SnapshotGoneError(
            f"run {run.run!r}: its snapshot is gone; expected {snapshot} and {run.path / 'snapshot.json'}. Copy the "
            "folder back from a backup; MARQUEE_KEEP_RUNS says how many runs are kept."
        )
    recorded: dict[str, str] = record.results.get(FILES, {})
    ledger = read_ledger(snapshot)
    files = {name: _now(snapshot, name, sha256, ledger) for name, sha256 in recorded.items()}
    rows = {name: int(pq.read_metadata(snapshot / FOLDER / name).num_rows) for name in record.results[ROWS]}
    erased = sum(record.results[ROWS].values()) - sum(rows.values())
    expired = sum(_expired(Path(name).name, sha256, files[name], ledger) for name, sha256 in recorded.items())
    return Frozen(str(record.results[DIGEST]), files, rows, erased, expired)


def hand_over(run: RunFolder, frozen: Frozen, to: RunFolder) -> None:
    """Give a new run the snapshot, options, judging window and trials of another, as if it had done its first step.

    Trials of rows that were erased since are not handed over: the search begins anew.
    Files are linked where the disk can: nothing ever writes into them, an erasure puts new ones in their place.
    """
    to.path.mkdir(parents=True)
    _link(run.path / SNAPSHOT, to.path / SNAPSHOT)
    if (run.path / _TUNING).is_dir() and not frozen.erased_rows:  # trials of other data are refused
        shutil.copytree(run.path / _TUNING, to.path / _TUNING)
    shutil.copyfile(run.path / OPTIONS, to.path / OPTIONS)
    record = run.finished("snapshot")
    now: dict[str, Any] = {FILES: dict(frozen.files), ROWS: dict(frozen.rows), DIGEST: digest_of(frozen.files)}
    fitted = run.record("retrieval")
    if fitted is not None:
        now[JUDGED_FROM] = fitted.results[TRAINED_UNTIL]
    to.finish(msgspec.structs.replace(record, results=record.results | now))


def _now(snapshot: Path, name: str, recorded: str, ledger: list[Rewriting]) -> str:
    """Return the SHA-256 of a file now, which the recorded one leads to."""
    file = snapshot / name
    if not file.is_file():
        raise SnapshotGoneError(f"{file}: gone; expected the file with SHA-256 {recorded}. Copy it from a backup.")
    known = {recorded}
    for line in ledger:
        if line.part == file.name and line.old in known:
            known.add(line.new)
    found = sha256_of(file)
    if found not in known:
        raise SnapshotGoneError(
            f"{file}: SHA-256 is {found}; expected {recorded}, as the run recorded it"
            + (f", or what {LEDGER} leads to from it" if len(known) > 1 else "")
            + ". The file was altered: copy it from a backup."
        )
    return found


def _expired(name: str, recorded: str, now: str, ledger: list[Rewriting]) -> int:
    """Return how many rows of a file went for their age; what a dying process noted and did not do is passed by."""
    origin = {line.new: line for line in ledger if line.part == name}
    expired = 0
    while now != recorded:
        expired += origin[now].rows if origin[now].why == "retention" else 0
        now = origin[now].old
    return expired


def _link(source: Path, target: Path) -> None:
    def link(file: str, copy: str) -> None:
        try:
            Path(copy).hardlink_to(file)
        except OSError:  # another disk, or one that has no links
            shutil.copyfile(file, copy)

    shutil.copytree(source, target, copy_function=link, ignore=shutil.ignore_patterns(LEDGER, ".*"))
