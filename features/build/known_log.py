"""The interaction log with landing times, as parquet: what could be read at any past moment."""

from pathlib import Path
from typing import Final

import pyarrow as pa

from features.build.snapshot import OF_EVENTS, write_rows
from features.contracts.times import from_us
from features.db.connection import Connection, database_errors
from features.db.queries import queries

SCHEMA: Final = pa.schema([*OF_EVENTS, ("landed_at", pa.timestamp("us", tz="UTC"))])


def write_known_log(connection: Connection, file: Path, until_us: int) -> int:
    """Write all interactions with an item that were known before a moment, in no order, and return how many.

    Parameters
    ----------
    connection
        In no transaction.
    file
        To be written; its folder must exist.
    until_us
        Microseconds since 1970 UTC.

    Raises
    ------
    UnavailableError
        If Postgres is away; the file is incomplete then.
    """
    with database_errors("writing the interaction log"), connection.transaction():
        return write_rows(connection, queries.known_log.sql, {"until": from_us(until_us)}, SCHEMA, file)
