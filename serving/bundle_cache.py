"""Verified bundles on this machine's disk: one read-only folder per digest, and a note of the last good one."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import structlog

from features.contracts.errors import ContractError

log = structlog.get_logger(__name__)

_INCOMING: Final = ".incoming-"
_NOTE: Final = "last_good.json"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class LastGood:
    """The version that was served last: what a server starts from when MLflow is away."""

    version: str
    digest: str
    run_id: str


class BundleCache:
    """A folder of verified bundles.

    A bundle is unpacked beside its final place and renamed into it, so that a folder named by a digest is whole.

    Parameters
    ----------
    folder
        Made if it is missing; one server's own, or shared by servers of one machine.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Return where the bundle of a digest lies, or would lie."""
        return self.folder / digest

    def holds(self, digest: str) -> bool:
        """Return whether the bundle of a digest is here."""
        return self.path(digest).is_dir()

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """Give a folder for files that are not verified yet; it is gone afterwards."""
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
        try:
            files.rename(place)
        except OSError:
            if not place.is_dir():
                raise
            # Another server of this machine was quicker with the same verified bytes.
            return place
        place.chmod(0o555)
        return place

    def discard(self, digest: str) -> None:
        """Remove the bundle of a digest, if it is here."""
        if self.holds(digest):
            _remove(self.path(digest))

    def prune(self, keep: Collection[str]) -> list[str]:
        """Remove all bundles but those of some digests, and return the digests removed.

        Files that a process still has mapped stay readable to it until it lets go of them.
        """
        gone = [entry.name for entry in self.folder.iterdir() if _is_bundle(entry) and entry.name not in keep]
        for digest in gone:
            self.discard(digest)
        return gone

    def remember(self, good: LastGood) -> None:
        """Note, in one step, which version to start from next time."""
        partial = self.folder / f"{_NOTE}.{os.getpid()}"
        with partial.open("w", encoding="utf-8") as file:
            json.dump(asdict(good), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.folder / _NOTE)

    def last_good(self) -> LastGood | None:
        """Return the version noted last, None where there is none.

        Raises
        ------
        ContractError
            If the note cannot be read.
        """
        note = self.folder / _NOTE
        if not note.exists():
            return None
        try:
            return LastGood(**json.loads(note.read_bytes()))
        except (ValueError, TypeError) as error:
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
