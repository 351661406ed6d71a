"""Locks of folders (flock), by which processes that share them agree; the kernel takes them from whoever dies."""

import fcntl
import os
from pathlib import Path


def locked(folder: Path, how: int) -> int | None:
    """Return a descriptor that holds a lock of a folder; None where it is not there, or locked and not to wait for."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, how)
        # Who had it until now may have removed it.
        if folder.exists() and os.path.samestat(os.fstat(lock), folder.stat()):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None
