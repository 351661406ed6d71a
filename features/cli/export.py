"""`export`: tables as parquet by day."""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from features.settings import load_settings


class Kind(StrEnum):
    """What can be exported."""

    INTERACTIONS = "interactions"
    IMPRESSIONS = "impressions"
    FEEDBACK = "feedback"
    ITEMS = "items"
    USERS = "users"


def export(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Empty, missing, or an earlier export to replace.")],
    *,
    kind: Annotated[list[Kind] | None, typer.Option(help="What to export; by default interactions.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Export all kinds.")] = False,
    since: Annotated[datetime | None, typer.Option(help="Events that occurred at or after this time, UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Events that occurred before this time, UTC.")] = None,
) -> None:
    """Export tables to parquet: FOLDER/KIND/day=2026-01-01/part-0.parquet, and manifest.json with what is there."""
    # Imported here: pyarrow is part of the batch image only.
    from features.build.export import Watch  # noqa: PLC0415
    from features.build.export import export as write  # noqa: PLC0415

    kinds = [*Kind] if everything else [*dict.fromkeys(kind or [Kind.INTERACTIONS])]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:

        def begin(name: str, rows: int) -> None:
            bar.add_task(name, total=rows)

        watch = Watch(on_kind=begin, on_rows=lambda rows: bar.advance(bar.task_ids[-1], rows))
        manifest = write(load_settings(), folder, kinds, since=_utc(since), until=_utc(until), watch=watch)
    for name, info in manifest.kinds.items():
        typer.echo(f"{folder / name}: {info.rows} rows in {len(info.files)} files")


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)
