"""Reads past the driver's cursors, on a real Postgres: however a query ends, nobody gets an answer of somebody else."""

import asyncio
import gc
from contextlib import suppress
from weakref import ref

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from features.contracts.errors import UnavailableError
from features.db.connection import AsyncPool, RefusedError, connect
from features.db.prepared import PreparedRead, Row, array_literal
from features.settings import Settings
from features.store import connection_for
from tests.support.pools import with_pool

ECHO = PreparedRead("echo", "SELECT text, length(text) FROM unnest(CAST(%(texts)s AS text[])) AS text", ("texts",))
SLEEP = PreparedRead("sleep", "SELECT pg_sleep(CAST(%(seconds)s AS float8)), %(answer)s::text", ("seconds", "answer"))


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Return settings of an empty database."""
    return Settings(database_url=SecretStr(database_url))


async def read(pool: AsyncPool, query: PreparedRead, *values: str) -> list[Row]:
    """Return what a query gives on any connection of a pool."""
    async with connection_for(pool, "trying") as connection:
        return await query.rows(connection, *values)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)))
def test_any_texts_come_back_as_they_were(settings: Settings, texts: list[str]) -> None:
    rows = with_pool(settings, lambda pool: read(pool, ECHO, array_literal(texts)))

    assert rows == [(text, len(text)) for text in texts]


def test_texts_are_the_same_whatever_encoding_sessions_have_by_default(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")

    rows = with_pool(settings, lambda pool: read(pool, ECHO, "{ünï,日}"))
    with connect(settings, name="cursor") as connection:
        found = connection.execute("SELECT %s::text", ["日"]).fetchone()

    assert rows == [("ünï", 3), ("日", 1)]
    assert found == ("日",)


def test_more_than_a_socket_takes_at_once_is_sent_and_read_whole(settings: Settings) -> None:
    texts = [f"{number:07d}" * 100 for number in range(20_000)]

    rows = with_pool(settings, lambda pool: read(pool, ECHO, array_literal(texts)))

    assert [text for text, _ in rows] == texts


def test_a_text_that_postgres_cannot_hold_is_refused_and_not_cut(settings: Settings) -> None:
    with pytest.raises(RefusedError, match="NUL"):
        with_pool(settings, lambda pool: read(pool, ECHO, "{a\0b}"))


def test_cursors_and_prepared_reads_share_a_connection(settings: Settings) -> None:
    async def both(pool: AsyncPool) -> list[object]:
        async with pool.connection() as connection:
            found: list[object] = []
            for number in range(7):  # beyond where the driver prepares by itself
                [(text, _)] = await ECHO.rows(connection, array_literal([f"a{number}"]))
                cursor = await connection.execute("SELECT %s::text", [text])
                found.append(await cursor.fetchone())
            return found

    assert with_pool(settings, both) == [(f"a{number}",) for number in range(7)]


def test_a_session_that_forgot_its_statements_is_told_them_again(settings: Settings) -> None:
    async def rolled_back(pool: AsyncPool) -> list[Row]:
        async with pool.connection() as connection:
            await ECHO.rows(connection, "{a}")
            for _ in range(7):  # beyond where the driver prepares by itself
                await connection.execute("SELECT 1")
            with suppress(ZeroDivisionError):
                async with connection.transaction():
                    await connection.execute("SELECT 2")
                    raise ZeroDivisionError
            await connection.execute("SELECT 3")
            return [*await ECHO.rows(connection, "{b}"), *await ECHO.rows(connection, "{cc}")]

    assert with_pool(settings, rolled_back) == [("b", 1), ("cc", 2)]


def test_a_query_that_is_an_error_says_which_and_leaves_the_connection_well(settings: Settings) -> None:
    wrong = PreparedRead("wrong", "SELECT 1 / CAST(%(by)s AS int)", ("by",))

    async def tried(pool: AsyncPool) -> list[Row]:
        async with pool.connection() as connection:
            with pytest.raises(psycopg.errors.DivisionByZero, match="division by zero"):
                await wrong.rows(connection, "0")
            with pytest.raises(psycopg.errors.InvalidTextRepresentation, match="for type integer"):
                await wrong.rows(connection, "x")
            with pytest.raises(psycopg.errors.UndefinedTable, match="nowhere"):
                await PreparedRead("lost", "SELECT * FROM nowhere", ()).rows(connection)
            return await wrong.rows(connection, "1")

    assert with_pool(settings, tried) == [(1,)]


def test_what_takes_too_long_is_unavailable(settings: Settings) -> None:
    with pytest.raises(UnavailableError, match="statement timeout"):
        with_pool(settings, lambda pool: read(pool, SLEEP, "5", "late"))


def test_who_gives_up_leaves_no_answer_for_the_next(settings: Settings) -> None:
    async def given_up(pool: AsyncPool) -> list[list[Row]]:
        for _ in range(3):
            task = asyncio.create_task(read(pool, SLEEP, "0.3", "of somebody else"))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return [await read(pool, SLEEP, "0", f"mine {number}") for number in range(10)]

    answers = with_pool(settings, given_up)

    assert [rows[0][1] for rows in answers] == [f"mine {number}" for number in range(10)]


def test_a_session_that_ends_meanwhile_is_unavailable_and_replaced(settings: Settings) -> None:
    async def ended(pool: AsyncPool) -> list[Row]:
        task = asyncio.create_task(read(pool, SLEEP, "0.9", "never"))
        await asyncio.sleep(0.2)
        with connect(settings, name="killer", autocommit=True) as killer:
            killer.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE application_name = 'marquee-serving' AND datname = current_database()"
            )
        with pytest.raises(UnavailableError, match=r"terminating connection|closed the connection"):
            await task
        return await read(pool, ECHO, "{again}")

    assert with_pool(settings, ended) == [("again", 5)]


def test_connections_that_ended_are_let_go_of(database_url: str) -> None:
    async def ended() -> ref[psycopg.AsyncConnection[Row]]:
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            await ECHO.rows(connection, "{a}")
        return ref(connection)

    known = asyncio.run(ended())
    gc.collect()

    assert known() is None
