"""``python -m training compare``: two backtests, user by user."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    first: Annotated[Path, typer.Argument(help="Folder (--out) of a backtest.")],
    second: Annotated[Path, typer.Argument(help="Folder of another one, of the same data and cut.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the comparison as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write it as a page.")] = None,
) -> None:
    """Compare two backtests of the same users by paired bootstrap; exit code 2 if they cannot be compared."""
    from training.cli.compare_run import execute  # noqa: PLC0415  # pandas and the training code load slowly

    execute(first, second, json_file, html)
