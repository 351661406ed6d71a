"""Folders that a step builds: empty when it begins, whatever a broken-off attempt left there."""

import shutil
from pathlib import Path


def fresh_folder(path: Path) -> Path:
    """Return the folder, new and empty."""
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path
