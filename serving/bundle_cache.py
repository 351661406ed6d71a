"""Verified bundles on this machine's disk: one read-only folder per digest, and a note of the last good one.

Processes that share the folder agree by locks of files (flock), which the kernel takes from whoever dies.
"""

import fcntl
import json
import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog

from features.contracts.errors import ContractError, UnavailableError
from features.folder_locks import locked

log = structlog.get_logger(__name__)

_INCOMING: Final = ".incoming-"
_NOTE: Final = "last_good.json"
_REFUSED: Final = "refused.json"
_FETCH_LOCK: Final = ".fetch.lock"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

FETCH_WAIT_S: Final = 300.0
"""How long to wait for another process that fetches: longer than a download and a check of 1.5 GB."""
_TRY_AGAIN_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Refused:
    """What the process that tried a bundle first found wrong with it."""

    version: str
    digest: str
    reason: str
    at_us: int


@dataclass(frozen=True, slots=True)
class LastGood:
    """The version that was served last: what a server starts from when MLflow is away.

    `previous` is the digest of the bundle that was served before: kept, for a rollback needs it within seconds.
    """

    version: str
    digest: str
    run_id: str
    previous: str | None = None


Opened = TypeVar("Opened")
Note = TypeVar("Note", LastGood, Refused)


class BundleCache:
    """A folder of verified bundles, shared by all processes of one machine that serve the same alias.

    A bundle is unpacked beside its final place and renamed into it, so that a folder named by a digest is whole. One
    process at a time fetches; a bundle that any process has open is not pruned.

    Parameters
    ----------
    folder
        Made if it is missing.
    wait_s
        How long to wait for another process that fetches.
    """

    def __init__(self, folder: Path, wait_s: float = FETCH_WAIT_S) -> None:
        self.folder = folder
        self._wait_s = wait_s
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Return where the bundle of a digest lies, or would lie."""
        return self.folder / digest

    def holds(self, digest: str) -> bool:
        """Return whether the bundle of a digest is here."""
        return self.path(digest).is_dir()

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """Give a folder for files that are not verified yet, while no other process has one; it is gone afterwards.

        Raises
        ------
        UnavailableError
            If another process keeps its own for too long.
        """
        with self._only_one():
            for left_over in self.folder.glob(f"{_INCOMING}*"):
                # Of a process that was killed: it would hold the lock if it lived.
                _remove(left_over)
            folder = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self.folder))
            try:
                yield folder
            finally:
                _remove(folder)

    def install(self, files: Path, digest: str) -> Path:
        """Move a verified bundle to its place, read-only, and return the place."""
        place = self.path(digest)
        for file in files.rglob("*"):
            file.chmod(0o555 if file.is_dir() else 0o444)
        files.rename(place)
        place.chmod(0o555)
        return place

    def open_kept(self, digest: str, open_bundle: Callable[[Path, str], Opened]) -> Opened | None:
        """Return what opens the bundle of a digest, None where it is not here; it is not pruned while that lives."""
        lock = locked(self.path(digest), fcntl.LOCK_SH)
        if lock is None:
            return None
        try:
            opened = open_bundle(self.path(digest), digest)
        except BaseException:
            os.close(lock)
            raise
        weakref.finalize(opened, os.close, lock)
        return opened

    def discard(self, digest: str) -> None:
        """Remove the bundle of a digest, if it is here."""
        if self.holds(digest):
            _remove(self.path(digest))

    def prune(self, keep: Collection[str]) -> list[str]:
        """Remove all bundles but those of some digests and those that are open, and return the digests removed."""
        old = [entry.name for entry in self.folder.iterdir() if _is_bundle(entry) and entry.name not in keep]
        return [digest for digest in old if self._removed(digest)]

    def refuse(self, refused: Refused) -> None:
        """Note what is wrong with a version, so that others need not try it too."""
        self._write(_REFUSED, refused)

    def refused(self) -> Refused | None:
        """Return the version refused last, None where there is none that can be read."""
        try:
            return self._read(_REFUSED, Refused)
        except ContractError:
            return None

    def remember(self, good: LastGood) -> None:
        """Note, in one step, which version to start from next time."""
        self._write(_NOTE, good)

    def last_good(self) -> LastGood | None:
        """Return the version noted last, None where there is none.

        Raises
        ------
        ContractError
            If the note cannot be read.
        """
        return self._read(_NOTE, LastGood)

    def _removed(self, digest: str) -> bool:
        lock = locked(self.path(digest), fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock is None:
            return False
        try:
            _remove(self.path(digest))
        finally:
            os.close(lock)
        return True

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        lock = os.open(self.folder / _FETCH_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._take(lock)
            yield
        finally:
            os.close(lock)

    def _take(self, lock: int) -> None:
        deadline_s = time.monotonic() + self._wait_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise UnavailableError(
                        f"{self.folder / _FETCH_LOCK}: another process has been fetching a bundle for over "
                        f"{self._wait_s:g} s; it is tried again later. If it hangs, end it."
                    ) from None
                time.sleep(_TRY_AGAIN_S)
            else:
                return

    def _write(self, name: str, note: LastGood | Refused) -> None:
        partial = self.folder / f"{name}.{os.getpid()}"
        with partial.open("w", encoding="utf-8") as file:
            json.dump(asdict(note), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.folder / name)

    def _read(self, name: str, kind: type[Note]) -> Note | None:
        note = self.folder / name
        try:
            return msgspec.json.decode(note.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise ContractError(f"{note}: {error}; expected what a server wrote. Delete the file to go on.") from error


def _is_bundle(entry: Path) -> bool:
    """Return whether an entry is named by a digest: encoders lie beside the bundles, in a folder of theirs."""
    return entry.is_dir() and _DIGEST.fullmatch(entry.name) is not None


def _remove(folder: Path) -> None:
    """Remove a folder and its read-only content; what cannot be removed now is left to a later prune."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder, onerror=lambda _, path, error: log.warning("not_removed", path=path, error=str(error[1])))
