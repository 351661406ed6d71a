"""`due`: whether enough is new for another training."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from features.settings import load_settings
from training.due import call, last_training
from training.steps.runner import SKIP_EXIT_CODE


def due(
    events: Annotated[
        int | None,
        typer.Option(min=0, help="How many are enough; 0: never.", show_default="MARQUEE_TRAIN_AFTER_EVENTS"),
    ] = None,
    *,
    note: Annotated[
        bool, typer.Option("--note", help="Where enough landed, let the count begin anew: a training was called for.")
    ] = False,
) -> None:
    """Say whether enough interactions landed since a training was last called for; exit code 99: not yet."""
    from features.build.landed import landed_since  # noqa: PLC0415  # other commands need no database

    settings = load_settings()
    enough = settings.train_after_events if events is None else events
    if not enough:
        typer.echo("never due: MARQUEE_TRAIN_AFTER_EVENTS is 0")
        raise typer.Exit(SKIP_EXIT_CODE)
    now = datetime.now(UTC)
    since = last_training(settings.work_dir)
    landed = landed_since(settings, since)
    typer.echo(
        f"{landed} interactions landed since a training was last called for, {since.isoformat(timespec='seconds')}; "
        f"{enough} make another due"
    )
    if landed < enough:
        raise typer.Exit(SKIP_EXIT_CODE)
    if note:
        call(settings.work_dir, now)
