"""``python -m training diff``: two versions side by side."""

from pathlib import Path
from typing import Annotated

import typer

from features.log import configure_logging
from features.settings import load_settings
from training.cli.output import LARGEST_SEED


def diff(
    first: Annotated[str, typer.Argument(help="Number of a version, or an alias such as champion.")],
    second: Annotated[str, typer.Argument(help="The same, of the version that may replace it.")],
    *,
    out: Annotated[Path | None, typer.Option(help="Also write the page to this file.")] = None,
    users: Annotated[int, typer.Option(min=6, help="Users whose lists are compared, evenly by activity.")] = 300,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Draws the users: one seed, one sample.")] = 0,
) -> None:
    """Compare two versions on the newest snapshot: lists of real users, which is better, what is shown, time and size.

    One HTML page that needs nothing around it, kept in MLflow with the second version's run (`diff/A-B.html`).
    """
    from training.cli.diff_run import execute  # noqa: PLC0415  # LightGBM and MLflow load slowly

    settings = load_settings()
    configure_logging(settings.log_format)
    execute(settings, (first, second), out, users=users, seed=seed)
