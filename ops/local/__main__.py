"""``python -m ops.local``: the whole stack on this machine, without Docker."""

import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from features.contracts.errors import MarqueeError
from ops.local import clean as clean_module
from ops.local import down as down_module
from ops.local import logs as logs_module
from ops.local import status as status_module
from ops.local import up as up_module
from ops.local.layout import chosen_layout

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False)


@app.command()
def up(names: Annotated[list[str] | None, typer.Argument(help="only these, and what they need")] = None) -> None:
    """Start the stack, or what of it does not run."""
    up_module.up(chosen_layout(), os.environ, console, names or ())


@app.command()
def down() -> None:
    """Stop the stack; its data stay."""
    down_module.down(chosen_layout(), console)


@app.command()
def status() -> None:
    """Show processes, ports, addresses and logins; exit 1 unless all is ready."""
    if not status_module.status(chosen_layout(), console):
        raise typer.Exit(1)


@app.command()
def logs(name: Annotated[str | None, typer.Argument(help="one process; all if left out")] = None) -> None:
    """Follow the logs."""
    logs_module.logs(chosen_layout(), name)


@app.command()
def clean() -> None:
    """Stop the stack and remove its data."""
    clean_module.clean(chosen_layout(), console)


def main() -> int:
    """Return the exit code: 2 with one clear message for everything we know to say no to."""
    try:
        app()
    except MarqueeError as error:
        console.print(str(error), markup=False, style="red")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
