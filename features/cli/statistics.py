"""`statistics`: advance item statistics to the newest closed bucket."""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from features.build.live_statistics import refresh_statistics
from features.contracts.times import EPOCH, given_instant
from features.settings import load_settings


def statistics(
    *,
    since: Annotated[
        str | None, typer.Option(help="Compute anew also items with events known at or after this (RFC 3339).")
    ] = None,
    until: Annotated[str | None, typer.Option(help="With --since: and before this.")] = None,
) -> None:
    """Advance item statistics to the newest closed 15 minutes; safe to repeat."""
    known = None
    if since is not None or until is not None:
        start = EPOCH if since is None else given_instant(since, "--since")
        known = start, datetime.now(UTC) if until is None else given_instant(until, "--until")
    columns = (TextColumn("{task.description}"), SpinnerColumn(), TextColumn("{task.completed:,}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        counted = bar.add_task("events counted", total=None)
        done = refresh_statistics(load_settings(), anew=known, on_events=partial(bar.advance, counted))
    typer.echo(f"closed at {done.closed_at.isoformat()}: {done.rows} rows added, {done.items_rebuilt} items rebuilt")
