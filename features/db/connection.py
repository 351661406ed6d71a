"""Connections to Marquee's database, and the one place where the driver's errors become ours."""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import orjson
import psycopg
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from features.contracts.errors import ContractError, UnavailableError
from features.settings import Settings

Connection = psycopg.Connection[tuple[Any, ...]]
AsyncPool = AsyncConnectionPool[psycopg.AsyncConnection[tuple[Any, ...]]]

CONNECT_TIMEOUT_S: Final = 3
"""A server that does not answer within this is away; libpq counts at least two seconds."""
POOL_TIMEOUT_S: Final = 0.5
"""How long a request waits for a free connection: longer than any query of ours takes, shorter than patience."""
RECONNECT_S: Final = 1
"""How long the pool tries again by itself, with ever longer pauses; then whoever asks makes it try at once."""
ENCODING: Final = "utf8"
"""Asked for by name: a role, a database or `PGCLIENTENCODING` may say another, in which ids would be other texts."""
LIVENESS: Final[dict[str, Any]] = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A peer that vanished without a word is noticed within about ten seconds (seconds, but the last: milliseconds)."""


_REFUSALS: Final = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
)

_AWAY: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    # The driver counts these as internal: the server ended a session whose transaction idled or took too long, or
    # cannot go on for a reason of its own, such as a file that may not grow.
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
    psycopg.errors.InternalError_,
    # A standby, until it is promoted.
    psycopg.errors.ReadOnlySqlTransaction,
    PoolTimeout,
)


class RefusedError(ContractError):
    """The database refuses a value: what was sent is at fault, and trying again will not help."""


@contextmanager
def database_errors(doing: str) -> Iterator[None]:
    """Turn the driver's errors into ours while doing what the words say.

    Raises
    ------
    UnavailableError
        If the server is away, overloaded, full, or broke off the transaction: trying again may succeed.
    RefusedError
        If the server refuses a value.
    """
    try:
        yield
    except _REFUSALS as error:
        raise RefusedError(f"Postgres, {doing}: {error}") from error
    except _AWAY as error:
        raise UnavailableError(f"Postgres, {doing}: {error}") from error


def connect(settings: Settings, *, name: str, autocommit: bool = False, statement_timeout_s: float = 60) -> Connection:
    """Return a connection of one's own, for commands; `name` is what `pg_stat_activity` shows.

    Raises
    ------
    UnavailableError
        If Postgres cannot be reached.
    """
    with database_errors("connecting"):
        connection = psycopg.connect(
            settings.database_url.get_secret_value(),
            autocommit=autocommit,
            application_name=f"marquee-{name}",
            connect_timeout=CONNECT_TIMEOUT_S,
            client_encoding=ENCODING,
            options=f"-c statement_timeout={int(statement_timeout_s * 1000)} -c timezone=UTC",
            **LIVENESS,
        )
    _use_fast_json(connection)
    return connection


def open_pool(settings: Settings, *, max_size: int = 8, statement_timeout_s: float = 2) -> AsyncPool:
    """Return an async pool in autocommit, not yet open: `await pool.open()` in the event loop that will use it.

    Opening succeeds while Postgres is away; the pool goes on trying.
    """

    async def check(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        """Return if a connection is alive; a round trip only where bytes came that nobody had asked for.

        A session that the server ended while it idled (a restart, a failover) says so by a last message: it is replaced
        before a request has met it, and all others that were ended with it.
        """
        idle = select.poll()
        idle.register(connection.fileno(), select.POLLIN)
        if idle.poll(0):
            try:
                await pool.check_connection(connection)
            except psycopg.Error:
                await pool.check()
                raise

    async def configure(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        _use_fast_json(connection)

    pool: AsyncPool = AsyncConnectionPool(
        settings.database_url.get_secret_value(),
        kwargs={
            "autocommit": True,
            "application_name": "marquee-serving",
            "connect_timeout": CONNECT_TIMEOUT_S,
            "client_encoding": ENCODING,
            "options": f"-c statement_timeout={int(statement_timeout_s * 1000)} -c timezone=UTC",
            **LIVENESS,
        },
        # Requests, item states and statistics each need one at once; opening another takes longer than a request.
        min_size=4,
        max_size=max_size,
        timeout=POOL_TIMEOUT_S,
        reconnect_timeout=RECONNECT_S,
        configure=configure,
        check=check,
        open=False,
    )
    return pool


def _use_fast_json(connection: "psycopg.Connection[Any] | psycopg.AsyncConnection[Any]") -> None:
    """Let a connection read and write JSON as the wire does.

    Postgres gives 1e30 back in digits. Read as a whole number of more than 64 bits it could not be written again.
    """
    set_json_dumps(_dumps, connection)
    set_json_loads(orjson.loads, connection)


def _dumps(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except RecursionError as error:
        # As the server would say of it: then the row at fault is found, and the others are written.
        raise psycopg.DataError(f"a value is nested too deeply to be written: {error}") from error
