"""Who did what: entries that are only ever added."""

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb

from features.db.connection import Connection, database_errors
from features.db.queries import queries

Action = Literal["refresh", "replay", "erase", "promote", "rollback", "reload", "train", "fix", "discard", "delete"]


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that was done.

    Attributes
    ----------
    actor
        Who: "admin" for the token of the API, "airflow:NAME" for a user of Airflow, else the name of the account.
    action, target
        What, and to what: a user, an item, a list, a model version, dead letters.
    correlation_id
        The request (`X-Request-Id`) or the run in Airflow that did it; empty for a command by hand.
    details
        What came of it, as plain JSON.
    """

    actor: str
    action: Action
    target: str
    correlation_id: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """An entry: a deed, its number and when it was done (aware UTC)."""

    audit_event_id: int
    at: datetime
    actor: str
    action: str
    target: str
    correlation_id: str
    details: dict[str, Any]


def account() -> str:
    """Return the name of the account that this process runs as, or its number where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # as in a container, under any number
        return f"uid {os.getuid()}"


def note(connection: Connection, deed: Deed) -> None:
    """Add an entry, in a transaction of its own or the one under way.

    Raises
    ------
    UnavailableError
        If Postgres is away.
    """
    with database_errors("noting what was done"), connection.transaction():
        queries.add_audit_event(
            connection,
            actor=deed.actor,
            action=deed.action,
            target=deed.target,
            correlation_id=deed.correlation_id,
            details=Jsonb(dict(deed.details)),
        )


def latest(connection: Connection, at_most: int) -> list[AuditEvent]:
    """Return the latest entries, newest first."""
    with database_errors("reading the audit"), connection.transaction():
        return [AuditEvent(*row) for row in queries.latest_audit_events(connection, at_most=at_most)]


def latest_moves(connection: Connection, model: str, alias: str, at_most: int) -> list[AuditEvent]:
    """Return the latest moves of an alias, newest first; `target` is the version that it went to."""
    with database_errors("reading the audit"), connection.transaction():
        rows = queries.latest_moves(connection, model=model, alias=alias, at_most=at_most)
        return [AuditEvent(*row) for row in rows]


def run_has_moved(connection: Connection, model: str, alias: str, correlation_id: str) -> bool:
    """Return whether a run has moved an alias."""
    with database_errors("reading the audit"), connection.transaction():
        found = queries.run_has_moved(connection, model=model, alias=alias, correlation_id=correlation_id)
        return bool(found)


def lock_moves(connection: Connection, model: str, alias: str) -> None:
    """Return once no other session moves the alias; it is this one's turn until its connection is closed.

    Raises
    ------
    UnavailableError
        If Postgres is away, or another session takes longer than the connection's timeout.
    """
    with database_errors("waiting for another move of the alias"):
        queries.lock_moves(connection, model=model, alias=alias)
