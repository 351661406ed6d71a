"""What Alembic runs: all pending migrations in one transaction, one runner at a time, never waiting long for a lock."""

from typing import Final

from alembic import context
from sqlalchemy import create_engine, pool

LOCK: Final = 7_203_001
"""Any number that nothing else in this database uses for an advisory lock."""

engine = create_engine(context.config.attributes["url"], poolclass=pool.NullPool)
with engine.begin() as connection:
    # A second runner waits for the first one's whole migration, and then finds nothing left to do.
    connection.exec_driver_sql("SET LOCAL statement_timeout = '120s'")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
    # Behind a lock that a migration waits for, every reader of the table queues: give up soon and try again.
    connection.exec_driver_sql("SET LOCAL lock_timeout = '5s'")
    connection.exec_driver_sql("SET LOCAL statement_timeout = '10min'")
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
