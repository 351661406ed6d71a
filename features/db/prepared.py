"""Reads that every request makes: prepared once a connection, and sent past the driver's cursors.

What cursors and their waiting add to a short query is half of what it takes in a process whose caches other work has
filled meanwhile.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

if TYPE_CHECKING:
    from psycopg.abc import Transformer as AnyTransformer

Row = tuple[Any, ...]
Connection = psycopg.AsyncConnection[Row]

_WELL: Final = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


class PreparedRead:
    """One query, which each connection plans once.

    Who gives up waiting leaves the connection busy: it can only be closed, which a pool does by itself.

    Parameters
    ----------
    name
        Of the statement within a session.
    sql
        With `:name` parameters turned into `%(name)s`, as aiosql has them.
    parameters
        Names of these, in the order in which `rows` takes their values.
    """

    def __init__(self, name: str, sql: str, parameters: tuple[str, ...]) -> None:
        self._name = name.encode()
        self._sql = (sql % {parameter: f"${place}" for place, parameter in enumerate(parameters, 1)}).encode()
        self._loaders: WeakKeyDictionary[Connection, AnyTransformer] = WeakKeyDictionary()

    async def rows(self, connection: Connection, *values: str) -> list[Row]:
        """Return what the query gives for some values, each as Postgres reads it in a literal.

        Raises
        ------
        psycopg.Error
            As a cursor raises it.
        """
        asked = [_text(value) for value in values]
        loaders = self._loaders.get(connection) or await self._prepared(connection)
        try:
            result = await self._asked(connection.pgconn, asked)
        except psycopg.errors.InvalidSqlStatementName:
            # The session forgot it: after a rollback the driver lets it forget all statements, and not only its own.
            loaders = await self._prepared(connection)
            result = await self._asked(connection.pgconn, asked)
        loaders.set_pgresult(result)
        found = loaders.load_rows(0, result.ntuples, tuple)
        loaders.set_pgresult(None)
        return found

    async def _prepared(self, connection: Connection) -> "AnyTransformer":
        """Let a session know the statement, and return what reads its rows."""
        # Noted first: who gives up just as the answer comes leaves a session in which it must not be prepared twice.
        # Of the connection's adapters alone: what refers to its own key is never let go of.
        loaders = self._loaders[connection] = Transformer(connection.adapters)
        connection.pgconn.send_prepare(self._name, self._sql)
        await _answer(connection.pgconn)
        return loaders

    async def _asked(self, pgconn: PGconn, values: Sequence[bytes]) -> PGresult:
        pgconn.send_query_prepared(self._name, values, result_format=Format.BINARY)
        return await _answer(pgconn)


def array_literal(texts: Sequence[str]) -> str:
    r"""Return a literal of an array of texts.

    >>> print(array_literal(["a", 'b"c', "d\\e", ""]))
    {"a","b\"c","d\\e",""}
    """
    quoted = [text.replace("\\", r"\\").replace('"', r"\"") for text in texts]
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"


def _text(value: str) -> bytes:
    """Return a value as the protocol has it, which would end it at a NUL."""
    if "\0" in value:
        raise psycopg.DataError("a text of Postgres cannot hold NUL (U+0000)")
    return value.encode()


async def _answer(pgconn: PGconn) -> PGresult:
    """Return what Postgres answers to what was handed over for sending."""
    while pgconn.flush():
        await _writable(pgconn.socket)
    result = await _result(pgconn)
    if pgconn.status == ConnStatus.BAD:
        raise psycopg.OperationalError(pgconn.get_error_message())
    if result.status not in _WELL:
        raise error_from_result(result)
    return result


async def _writable(socket: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(socket, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_writer(socket)


async def _result(pgconn: PGconn) -> PGresult:
    """Return the one result that comes, once the session is ready for the next query."""
    loop, socket = asyncio.get_running_loop(), pgconn.socket
    ready: asyncio.Future[None] = loop.create_future()
    results: list[PGresult] = []

    def read() -> None:
        try:
            pgconn.consume_input()
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    _settle(ready)
                    return
                results.append(result)
        except psycopg.Error as error:
            _settle(ready, error)

    loop.add_reader(socket, read)
    try:
        await ready
    finally:
        loop.remove_reader(socket)
    return results[-1]


def _settle(ready: "asyncio.Future[None]", error: psycopg.Error | None = None) -> None:
    """Let go on who waits: the loop may call several times before they do."""
    if ready.done():
        return
    if error is None:
        ready.set_result(None)
    else:
        ready.set_exception(error)
