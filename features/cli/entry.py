"""How commands begin and end: one clear message and exit code 2 for an error of ours."""

import errno
import os
import sys
from collections.abc import Sequence
from typing import Final

import typer

from features.contracts.errors import ContractError, MarqueeError

_CANNOT_WRITE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What is wrong with a disk, and nothing that a stack of calls would explain."""


def run(app: typer.Typer) -> None:
    """Run the command that the arguments name."""
    try:
        _require_utf8(sys.argv[1:])
        app()
    except MarqueeError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        place = f"{error.filename}: " if error.filename else ""
        way_out = "what was being written is not whole: make room, or choose another place, and run the command again"
        typer.echo(f"error: {place}{os.strerror(error.errno)}; {way_out}", err=True)
        sys.exit(2)


def _require_utf8(arguments: Sequence[str]) -> None:
    """Refuse bytes that are no text: neither Postgres nor JSON could hold them."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise ContractError(f"argument {argument!r} holds bytes that are no UTF-8") from None
