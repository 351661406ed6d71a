"""Which runs' folders stay: the newest, and those of versions that an alias names; older ones make room.

Runs that registered a version, and runs that did not (skipped, failed, made again to compare), are counted apart: many
of the latter must not cost the data of a version.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import structlog

from training.bundle.registry import Registry
from training.bundle.versions import TAG_RUN
from training.steps.options import FILE as OPTIONS
from training.steps.state import RunError, RunFolder

log = structlog.get_logger(__name__)


def runs_of_aliases(registry: Registry) -> set[str]:
    """Return the runs whose versions an alias names: those can be reproduced, and compared, as long as it does."""
    tags = [registry.version(version).tags for version in set(registry.aliases().values())]
    return {found[TAG_RUN] for found in tags if TAG_RUN in found}


def remove_old_runs(work_dir: Path, keep: int, always: Collection[str]) -> list[str]:
    """Return the runs whose folders were removed: all but the newest, by their beginning.

    A run that another process works on stays, too.

    Parameters
    ----------
    work_dir
        Holds a folder for each run.
    keep
        How many of the newest stay, of either kind; 0 = all.
    always
        Runs that stay however old they are.
    """
    if not keep:
        return []
    runs = sorted(_runs(work_dir), key=lambda folder: (folder / OPTIONS).stat().st_mtime, reverse=True)
    registered = [folder for folder in runs if (folder / "register.json").is_file()]
    others = [folder for folder in runs if folder not in registered]
    old = [folder.name for folder in (*registered[keep:], *others[keep:]) if folder.name not in always]
    removed = [name for name in old if _removed(RunFolder(work_dir, name))]
    for name in removed:
        log.info("old run removed", old=name)
    return removed


def _runs(work_dir: Path) -> Iterator[Path]:
    return (folder for folder in work_dir.iterdir() if (folder / OPTIONS).is_file())


def _removed(run: RunFolder) -> bool:
    try:
        with run.locked(wait=False):
            run.remove()
    except RunError:
        return False
    return True
