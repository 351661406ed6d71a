"""A session of the database that is opened when it is needed, and again after a failure."""

from contextlib import ExitStack, closing
from typing import Final

from features.db.connection import Connection, connect, database_errors
from features.db.queries import queries
from features.landing.write import prepare
from features.settings import Settings

IDLE_S: Final = 8
"""Seconds that a transaction may wait for its client. A frozen process keeps its locks, and the one that takes over its
partitions waits for them: longer than the group waits (6 s), longer than any work of ours between two statements."""
TRANSACTION_S: Final = 30
"""Seconds that a transaction may take in all: also a client frozen in the midst of a copy must let go."""


class Session:
    """One thread's session.

    Parameters
    ----------
    settings
        Where Postgres is.
    name
        What `pg_stat_activity` shows.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._open: Connection | None = None

    def connection(self) -> Connection:
        """Return the connection, ready to write.

        Raises
        ------
        UnavailableError
            If Postgres is away.
        """
        if self._open is None:
            with ExitStack() as on_failure:
                connection = on_failure.enter_context(closing(connect(self._settings, name=self._name)))
                with database_errors("bounding transactions"):
                    queries.bound_transactions(connection, idle=f"{IDLE_S}s", whole=f"{TRANSACTION_S}s")
                prepare(connection)
                on_failure.pop_all()
            self._open = connection
        return self._open

    def close(self) -> None:
        """Disconnect; the next call connects anew."""
        if self._open is not None:
            self._open.close()
            self._open = None
