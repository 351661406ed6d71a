"""`import`: history and catalogues from files."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from features.contracts.events import BaseEvent, Interaction, Item, User
from features.settings import Settings, load_settings

File = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Parquet or CSV.")]


def import_files(*, interactions: File = None, items: File = None, users: File = None) -> None:
    """Import interactions, items and users from parquet or CSV; importing again stores only what is missing."""
    wanted: list[tuple[type[BaseEvent], Path | None]] = [(Item, items), (User, users), (Interaction, interactions)]
    if not any(path for _, path in wanted):
        raise typer.BadParameter("name at least one of --interactions, --items, --users")
    settings = load_settings()
    for kind, path in wanted:
        if path is not None:
            _import(settings, kind, path)


def _import(settings: Settings, kind: type[BaseEvent], path: Path) -> None:
    # Imported here: pyarrow is part of the batch image only.
    from features.landing.files import open_table  # noqa: PLC0415
    from features.landing.importing import import_file  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(path.name, total=open_table(path).rows)
        done = import_file(settings, kind, path, datetime.now(UTC), lambda rows: bar.advance(task, rows))
    typer.echo(f"{path}: {done.stored} stored, {done.duplicate} were there already")
