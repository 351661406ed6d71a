"""The life of encoders after their fit: ready when whole, retired when nobody needs them, and then without vectors."""

from typing import Final

import structlog

from features.db.connection import Connection
from features.db.queries import queries

log = structlog.get_logger()

GRACE_MINUTES: Final = 10
"""Minutes after which an encoder that no bundle names follows a newer one into retirement: readers have switched."""
AT_ONCE: Final = 2_000
"""Vectors deleted in one statement."""


def mark_ready(connection: Connection) -> list[str]:
    """Return which encoders became ready: every item has a vector by them that has one by any."""
    with connection.transaction():
        ready = [digest for (digest,) in queries.mark_ready(connection)]
        if ready:
            queries.announce_encoders(connection)
    for digest in ready:
        log.info("an encoder is ready", encoder=digest[:12])
    return ready


def retire(connection: Connection) -> list[str]:
    """Return which encoders were retired because a newer one is ready and no bundle ever named them."""
    with connection.transaction():
        retired = [digest for (digest,) in queries.retire_unnamed(connection, minutes=GRACE_MINUTES)]
        if retired:
            queries.announce_encoders(connection)
    for digest in retired:
        log.info("an encoder is retired", encoder=digest[:12])
    return retired


def forget_some(connection: Connection) -> int:
    """Return how many vectors of retired encoders were deleted, some at once."""
    return int(queries.forget_retired_vectors(connection, at_most=AT_ONCE))


def prune(connection: Connection, *, files: bool) -> tuple[int, int]:
    """Return how many vectors and parts of files were deleted: of retired encoders, and of items that are gone.

    Parameters
    ----------
    connection
        In autocommit: each statement stands for itself.
    files
        Whether to delete also the files of encoders that a bundle once named: such a bundle can be served again, but
        not searched.
    """
    vectors = int(queries.forget_orphans(connection))
    while some := forget_some(connection):
        vectors += some
    return vectors, int(queries.forget_retired_files(connection, named_too=files))
