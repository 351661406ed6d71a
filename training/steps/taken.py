"""Whether the snapshot of a run is what was taken: its files by their SHA-256, but for rows that an erasure took."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.bundle.manifest import file_digest
from training.data import Interactions
from training.steps.inputs import INTERACTIONS, ITEMS, SNAPSHOT
from training.steps.state import RunFolder


def rows_gone(run: RunFolder, interactions: Interactions) -> int:
    """Return how many interactions have left the snapshot since it was taken."""
    return max(0, int(run.finished("snapshot").results["interactions"]) - len(interactions))


def changed(run: RunFolder, gone: int) -> str:
    """Return which files of the snapshot are not what was taken; empty where all are, or where rows have gone."""
    if gone:
        return ""
    folder, taken = run.path / SNAPSHOT, files_taken(run.finished("snapshot").results)
    odd = [name for name, sha256 in taken.items() if _digest(folder / name) != sha256]
    return f"other SHA-256 than when the snapshot was taken: {', '.join(odd)}" if odd else ""


def files_taken(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each file of a snapshot, by its path in the folder, as the step's record tells it."""
    if "files" in record:
        return dict(record["files"])
    return {INTERACTIONS.name: str(record["sha256"]), ITEMS.name: str(record["items_sha256"])}


def _digest(file: Path) -> str | None:
    return file_digest(file).sha256 if file.is_file() else None
