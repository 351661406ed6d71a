"""`make clean`: stop the stack and remove its data."""

import shutil

from rich.console import Console

from ops.local.down import down
from ops.local.layout import Layout


def clean(layout: Layout, console: Console) -> None:
    """Stop the stack, then remove its run folder, its Postgres where that lies elsewhere, and its artifacts."""
    down(layout, console)
    postgres = layout.run_dir / "postgres"
    folders = [layout.run_dir, layout.artifacts]
    if postgres.is_symlink():
        folders.append(postgres.resolve())
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    console.print(f"removed {', '.join(str(folder) for folder in folders)}")
