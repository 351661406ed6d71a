"""`make clean`: stop the stack and remove its data."""

import shutil

from rich.console import Console

from ops.local.down import down
from ops.local.errors import StackError
from ops.local.layout import ROOT, Layout


def clean(layout: Layout, console: Console) -> None:
    """Stop the stack, then remove its run folder, its Postgres where that lies elsewhere, and its artifacts.

    Raises
    ------
    StackError
        Where the run folder is no stack's own; nothing is stopped or removed then.
    """
    _refuse_others(layout)
    down(layout, console)
    postgres = layout.run_dir / "postgres"
    folders = [layout.run_dir, layout.artifacts]
    if postgres.is_symlink():
        folders.append(postgres.resolve())
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    console.print(f"removed {', '.join(str(folder) for folder in folders)}")


def _refuse_others(layout: Layout) -> None:
    """Raise StackError where the run folder holds more than a stack, or something else."""
    folder = layout.run_dir
    if ROOT.is_relative_to(folder):
        raise StackError(
            f"{folder} holds this checkout and is not removed: let MARQUEE_RUN_DIR name the folder of a stack, or "
            "unset it for `.run`"
        )
    if folder.exists() and not layout.state_file.exists():
        raise StackError(
            f"{folder} is not removed: no stack was started in it, since {layout.state_file.name} is not there. Let "
            "MARQUEE_RUN_DIR name the folder of a stack, or delete this one by hand"
        )
