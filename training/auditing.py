"""Entries of the audit for moves of the alias."""

from typing import Literal

import structlog

from features.audit import Deed, account, note
from features.contracts.errors import MarqueeError
from features.db.connection import connect
from features.settings import Settings

log = structlog.get_logger(__name__)


def note_move(
    settings: Settings, action: Literal["promote", "rollback"], version: str, before: str | None, run: str = ""
) -> None:
    """Note that the alias points to a version now; that it could not be noted is logged: the move is done.

    Parameters
    ----------
    before
        The version that it pointed to, if any.
    run
        The training run that moved it; empty for a command by hand.
    """
    details = {"alias": settings.model_alias, "model": settings.model_name, "from": before}
    try:
        with connect(settings, name="audit") as connection:
            note(connection, Deed(account(), action, version, run, details))
    except MarqueeError as error:
        log.warning("audit_not_written", action=action, version=version, error=str(error))
