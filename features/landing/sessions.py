"""A session of the database that is opened when it is needed, and again after a failure."""

from features.db.connection import Connection, connect
from features.landing.write import prepare
from features.settings import Settings


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
            connection = connect(self._settings, name=self._name)
            prepare(connection)
            self._open = connection
        return self._open

    def close(self) -> None:
        """Disconnect; the next call connects anew."""
        if self._open is not None:
            self._open.close()
            self._open = None
