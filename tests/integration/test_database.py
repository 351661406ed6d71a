"""The schema: migrated once, twice, at once; as committed; and fit for every query of the .sql files."""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from features.contracts.errors import UnavailableError
from features.db.connection import RefusedError, connect, database_errors
from features.db.migrate import migrate
from features.db.queries import queries
from features.settings import Settings
from tests.support.catalog import describe_schema
from tests.support.commands import run_command

pytestmark = pytest.mark.integration
SNAPSHOT = Path(__file__).with_name("schema_snapshot.txt")


@pytest.fixture
def empty_database(postgres_url: str) -> Iterator[str]:
    """Yield the URL of a database in which nothing was migrated."""
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS never_migrated WITH (FORCE)")
        admin.execute("CREATE DATABASE never_migrated TEMPLATE template0")
        yield postgres_url.rsplit("/", 1)[0] + "/never_migrated"
        admin.execute("DROP DATABASE never_migrated WITH (FORCE)")


def settings_of(url: str) -> Settings:
    return Settings(database_url=SecretStr(url))


def test_migrating_from_nothing_gives_the_committed_schema_and_twice_is_once(empty_database: str) -> None:
    settings = settings_of(empty_database)

    assert migrate(settings) == migrate(settings)

    with psycopg.connect(empty_database) as connection:
        assert describe_schema(connection) == SNAPSHOT.read_text(encoding="utf-8"), "a migration changed the schema"


def test_two_migrations_at_once_both_succeed(empty_database: str) -> None:
    environment = {**os.environ, "MARQUEE_DATABASE_URL": empty_database}
    command = [sys.executable, "-m", "features", "migrate"]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]

    said = {process.communicate(timeout=240)[0] for process in both}

    assert [process.returncode for process in both] == [0, 0]
    assert len(said) == 1


def test_migrating_without_a_server_says_so_and_exits_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARQUEE_DATABASE_URL", "postgresql://marquee:secret@127.0.0.1:1/marquee")

    done = run_command("features", "migrate", timeout=240)

    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "secret" not in done.stderr


def named_queries() -> list[str]:
    return sorted(name for name in queries.available_queries if not name.endswith("_cursor"))


@pytest.mark.parametrize("name", named_queries())
def test_every_query_fits_the_schema_and_says_what_it_is_for(name: str, new_database: Callable[[], str]) -> None:
    query: Any = getattr(queries, name)
    assert inspect.getdoc(query), f"{name}: a one-line purpose is missing"
    with psycopg.connect(_shared_database(new_database)) as connection:
        queries.create_staging(connection)
        queries.create_staged_vectors(connection)
        if not re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", _without_comments(query.sql)):
            return  # COPY, SET, LOCK and definitions cannot be prepared
        numbered = re.sub(r"%\((\w+)\)s", _numbering(), query.sql)
        connection.execute(sql.SQL("PREPARE checked AS {}").format(sql.SQL(numbered.rstrip().rstrip(";"))))


_made: list[str] = []


def _shared_database(new_database: Callable[[], str]) -> str:
    """Return one migrated database for all queries: preparing changes nothing."""
    if not _made:
        _made.append(new_database())
    return _made[0]


def _without_comments(text: str) -> str:
    return re.sub(r"--.*", "", text)


def _numbering() -> Callable[[re.Match[str]], str]:
    numbers: dict[str, int] = {}
    return lambda found: f"${numbers.setdefault(found[1], len(numbers) + 1)}"


def test_a_server_that_is_away_is_unavailable_within_seconds() -> None:
    with pytest.raises(UnavailableError, match="connecting"):
        connect(settings_of("postgresql://marquee:x@127.0.0.1:1/marquee"), name="test")


def test_a_value_that_postgres_refuses_is_refused_and_not_unavailable(database_url: str) -> None:
    with (
        connect(settings_of(database_url), name="test") as connection,
        pytest.raises(RefusedError, match="trying"),
        database_errors("trying"),
    ):
        connection.execute("SELECT 'x'::integer")


def test_json_that_is_nested_too_deeply_to_be_spelt_is_refused_as_a_value(database_url: str) -> None:
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    with (
        connect(settings_of(database_url), name="test") as connection,
        pytest.raises(RefusedError, match="too deeply"),
        database_errors("trying"),
    ):
        connection.execute("SELECT %s", [Jsonb(deep)])


def test_a_statement_that_takes_too_long_is_unavailable(database_url: str) -> None:
    with (
        connect(settings_of(database_url), name="test", statement_timeout_s=0.1) as connection,
        pytest.raises(UnavailableError, match="timeout"),
        database_errors("sleeping"),
    ):
        connection.execute("SELECT pg_sleep(5)")


def test_a_server_that_takes_no_writes_now_is_unavailable(database_url: str) -> None:
    with connect(settings_of(database_url), name="test") as connection:
        connection.read_only = True
        with pytest.raises(UnavailableError, match="read-only"), database_errors("writing"):
            connection.execute("CREATE TABLE written ()")
