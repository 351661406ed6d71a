"""Entries of the audit for what operators do by API."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import structlog
from fastapi import Depends, Request

from features import audit
from features.audit import Action, Deed
from features.contracts.errors import MarqueeError
from features.db.connection import Connection
from serving.auth import Principal, Require

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class By:
    """Who asks, and in which request."""

    actor: str
    request_id: str

    def deed(self, action: Action, target: str, **details: Any) -> Deed:
        """Return what they did."""
        return Deed(self.actor, action, target, self.request_id, details)


def by_whom(admin: Require) -> Callable[..., By]:
    """Return the dependency that tells a route who asks, and refuses those who may not."""

    def by(request: Request, principal: Annotated[Principal, Depends(admin)]) -> By:
        return By(principal.name, request.scope.get("state", {}).get("request_id", ""))

    return by


def note(connection: Connection, deed: Deed) -> None:
    """Add an entry for what was done; that it could not be added is logged: what was done is done."""
    try:
        audit.note(connection, deed)
    except MarqueeError as error:
        log.warning("audit_not_written", action=deed.action, correlation_id=deed.correlation_id, error=str(error))
