"""How commands begin and end: one clear message and exit code 2 for an error of ours."""

import sys
from collections.abc import Sequence

import typer

from features.contracts.errors import ContractError, MarqueeError


def run(app: typer.Typer) -> None:
    """Run the command that the arguments name."""
    try:
        _require_utf8(sys.argv[1:])
        app()
    except MarqueeError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


def _require_utf8(arguments: Sequence[str]) -> None:
    """Refuse bytes that are no text: neither Postgres nor JSON could hold them."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise ContractError(f"argument {argument!r} holds bytes that are no UTF-8") from None
