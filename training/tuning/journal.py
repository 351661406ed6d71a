"""Where the trials of a search are kept: a journal that a process which dies leaves fit to go on with."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from features.contracts.errors import ContractError

FILE: Final = "trials.journal"


@contextmanager
def open_journal(folder: Path) -> Iterator[JournalStorage]:
    """Yield the storage of a folder's search, for this process alone.

    Raises
    ------
    ContractError
        If another process searches in the same folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ContractError(
                f"{folder}: another process searches settings here now. Wait for it to end, or choose another folder."
            ) from None
        _mend(file)
        yield JournalStorage(JournalFileBackend(str(file)))


def _mend(file: Path) -> None:
    """Take away what a killed process left: half a line, which would spoil the next one, and Optuna's own lock."""
    file.with_name(f"{file.name}.lock").unlink(missing_ok=True)
    if file.exists():
        with file.open("r+b") as journal:
            content = journal.read()
            journal.truncate(content.rfind(b"\n") + 1)
