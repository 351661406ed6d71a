"""`skew`: whether the version that serves computes what it was trained on."""

from pathlib import Path
from typing import Annotated

import typer


def skew(
    *,
    hours: Annotated[float, typer.Option(min=0.01, max=2160, help="Look at lists served in the last hours.")] = 24,
    limit: Annotated[int, typer.Option(min=1, max=20_000, help="Lists to look at; of more, an even draw.")] = 1_000,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page and skew.json.", show_default="MARQUEE_WORK_DIR/skew")
    ] = None,
    prometheus: Annotated[bool, typer.Option("--prometheus", help="Print Prometheus metrics instead.")] = False,
    prometheus_file: Annotated[
        Path | None, typer.Option(help="Also write Prometheus metrics here, for node_exporter's textfile collector.")
    ] = None,
) -> None:
    """Make recorded lists of the served version again by the training path; exit code 1 if they are not the same.

    Drift of features and scores against training is told beside it. Both go to MLflow: a run of the experiment
    `marquee-skew`, and tags of the version that the gate reads.
    """
    from training.cli.skew_run import execute  # noqa: PLC0415  # pandas and the training code load slowly

    raise typer.Exit(execute(hours, limit, out, prometheus=prometheus, prometheus_file=prometheus_file))
