"""Real services for tests, each started when first asked for and by the code that starts the stack of `make up`."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ops.local.databases import create_databases
from ops.local.direct import running
from ops.local.layout import Layout
from ops.local.ports import LOOPBACK, free_ports
from ops.local.processes import end, stack_processes
from ops.local.services import kafka, mlflow, postgres
from ops.local.stack import Stack
from ops.local.state import Secrets, State
from tests.support.commands import run_command

TEMPLATE = "marquee_template"
# A test's cluster is thrown away: it survives the kill of a process, not of the machine.
THROWN_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@pytest.fixture(scope="session")
def service_stack() -> Iterator[Stack]:
    """Yield a stack on free ports in a folder of its own, of which nothing runs yet."""
    folder = Path(tempfile.mkdtemp(prefix="marquee-tests-"))
    folder.chmod(0o711)  # Postgres runs as another account where tests run as root
    stack = Stack(Layout(folder / "run", folder / "mlruns"), State(free_ports(), Secrets()))
    stack.layout.run_dir.mkdir()
    yield stack
    end(stack_processes(stack.layout))
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(service_stack: Stack) -> Iterator[str]:
    """Yield the superuser's URL of a real Postgres that holds the databases and roles of a fresh stack."""
    with running(postgres.service(service_stack, THROWN_AWAY), service_stack):
        create_databases(service_stack)
        yield postgres.admin_url(service_stack)


@pytest.fixture(scope="session")
def kafka_bootstrap(service_stack: Stack) -> Iterator[str]:
    """Yield host:port of a real Kafka broker that has no topic yet."""
    with running(kafka.service(service_stack), service_stack):
        yield f"{LOOPBACK}:{service_stack.state.ports.kafka}"


@pytest.fixture(scope="session")
def mlflow_uri(service_stack: Stack, postgres_url: str) -> Iterator[str]:
    """Yield the address of a real MLflow server, its metadata in the tests' Postgres."""
    del postgres_url
    with running(mlflow.service(service_stack), service_stack):
        yield f"http://{LOOPBACK}:{service_stack.state.ports.mlflow}"


@pytest.fixture(scope="session")
def new_database(service_stack: Stack, postgres_url: str) -> Callable[[], str]:
    """Return a function that makes a migrated, empty database and returns its URL, as the role of `make up`."""
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        _create(admin, TEMPLATE, "template0")
    _migrate(_url(service_stack, TEMPLATE))
    numbers = count(1)

    def create() -> str:
        name = f"test_{next(numbers)}"
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            _create(admin, name, TEMPLATE)
        return _url(service_stack, name)

    return create


@pytest.fixture
def database_url(new_database: Callable[[], str], postgres_url: str) -> Iterator[str]:
    """Yield the URL of a fresh migrated database of this test alone."""
    url = new_database()
    yield url
    name = url.rsplit("/", 1)[1]
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _url(stack: Stack, database: str) -> str:
    """Return the URL of `database` for the role that owns it."""
    return stack.database_url("marquee").rsplit("/", 1)[0] + f"/{database}"


def _create(admin: psycopg.Connection, name: str, template: str) -> None:
    """Make the database `name`, owned by Marquee's role."""
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER marquee")
    admin.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))


def _migrate(url: str) -> None:
    """Bring an empty database to the current schema, by the users' own command."""
    run_command("features", "migrate", environment={**os.environ, "MARQUEE_DATABASE_URL": url}).check_returncode()
