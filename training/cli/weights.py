"""``python -m training weights``: how much each action counts, and why."""

from pathlib import Path
from typing import Annotated

import typer


def weights(
    *,
    interactions: Annotated[
        Path, typer.Option(help="Parquet: user_id, item_id, occurred_at, optional action and value.")
    ],
    said: Annotated[
        Path | None,
        typer.Option("--weights", help="YAML of action weights; goes first.", envvar="MARQUEE_ACTION_WEIGHTS"),
    ] = None,
) -> None:
    """Show what each action weighs, found from the data or said in a file, and how ratings are read."""
    from training.cli.weights_run import execute  # noqa: PLC0415  # pandas and the training code load slowly

    execute(interactions, said)
