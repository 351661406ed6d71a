"""Three databases in one cluster, one role each, which sees no other."""

import psycopg
from psycopg import sql

from ops.local.services.postgres import admin_url
from ops.local.stack import Stack

ROLES = ("marquee", "airflow", "mlflow")


def create_databases(stack: Stack) -> None:
    """Make roles and databases that are missing, and set each role's password to the kept one."""
    with psycopg.connect(admin_url(stack), autocommit=True) as connection:
        for role in ROLES:
            _create_role(connection, role, getattr(stack.state.secrets, f"{role}_password"))
            _create_database(connection, role)


def _create_role(connection: psycopg.Connection, role: str, password: str) -> None:
    """Make `role`, which may log in and nothing else."""
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    verb = sql.SQL("ALTER" if known else "CREATE")
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}").format(
            verb, sql.Identifier(role), sql.Literal(password)
        )
    )


def _create_database(connection: psycopg.Connection, role: str) -> None:
    """Make the database of `role`, which owns it; others may not even connect."""
    known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [role]).fetchone()
    if not known:
        connection.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(role)))
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(role)))
