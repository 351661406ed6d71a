"""What lies below folders that others write to and remove meanwhile; what cannot be looked into is told."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from features.contracts.parts import FOLDER, GONE, parts_in


def is_folder(path: Path, broken: list[str]) -> bool:
    """Return whether a folder can be looked into, after noting why where it is none."""
    try:
        if path.is_dir():
            return True
        broken.append(f"{path}: no such folder here")
    except OSError as error:  # one above it is closed to us
        broken.append(trouble(path, "not looked into", error))
    return False


def files_below(folders: Iterable[Path], broken: list[str]) -> list[Path]:
    """Return the files below some folders, in order; what cannot be looked into is noted, unless it is gone by now."""

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            broken.append(trouble(error.filename, "not looked into", error))

    walks = (os.walk(folder, onerror=note) for folder in folders)
    return sorted({Path(place) / name for walk in walks for place, _, names in walk for name in names})


def part_folders(files: Iterable[Path]) -> Iterator[Path]:
    """Yield those folders of some files that are a snapshot's, of parts by user, in order."""
    names: dict[Path, list[str]] = {}
    for file in files:
        if file.parent.name in {FOLDER, GONE}:
            names.setdefault(file.parent, []).append(file.name)
    return (folder for folder in sorted(names) if parts_in(names[folder]) is not None)


def trouble(path: Path | str, what: str, error: Exception) -> str:
    """Return of which folder or file what could not be done, and why."""
    return f"{path}: {what}: {getattr(error, 'strerror', None) or error}"[:400]
