"""``python -m training reproduce``: whether a version is what its recorded data, options and code lead to."""

from typing import Annotated

import typer

from features.log import configure_logging
from features.settings import load_settings


def reproduce(
    version: Annotated[str, typer.Argument(help="Number of the version, or an alias.")],
    *,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Difference of a metric that passes where files are not the same.")
    ] = 0.002,
) -> None:
    """Train a version once more from its run's snapshot, options and seed, in a fresh run, and compare the two.

    Nothing is registered. Exit codes: 0 the same, or within the tolerance; 1 different; 2 not possible, such as where
    the snapshot is gone.
    """
    from training.cli.reproduce_run import execute  # noqa: PLC0415  # LightGBM and MLflow load slowly

    settings = load_settings()
    configure_logging(settings.log_format)
    if execute(settings, version, tolerance) == "different":
        raise typer.Exit(1)
