"""The vectors of one encoder as a file, for training: what a bundle holds of texts."""

from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from features.db.connection import Connection, database_errors
from features.db.queries import queries

ROWS_AT_ONCE: Final = 10_000
"""Rows held in memory at a time, and of a row group."""
VECTORS: Final = pa.schema(
    [
        ("item_id", pa.string()),
        ("text_hash", pa.binary(16)),
        ("vector", pa.binary()),
        ("terms", pa.binary()),
        ("embedded_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""`vector` and `terms` are as in the table `item_vectors`; `features.embedding.rows` unpacks them."""


def export_vectors(connection: Connection, encoder: str, until: datetime, path: Path) -> int:
    """Return how many vectors of an encoder were written to a parquet file: those embedded before an instant, by item.

    Parameters
    ----------
    connection
        In a transaction, or not in autocommit.
    encoder
        Digest.
    until
        From `embedded_before`, or earlier: later ones are left to who reads the table live.
    path
        The file, written anew.

    Raises
    ------
    UnavailableError
        If Postgres is away; the file is incomplete then.
    """
    written = 0
    with (
        database_errors("exporting vectors"),
        connection.transaction(),
        connection.cursor("vectors") as cursor,
        pq.ParquetWriter(path, VECTORS, compression="zstd") as file,
    ):
        cursor.execute(queries.exported_vectors.sql, {"encoder": encoder, "until": until}, binary=True)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            file.write_table(_table(rows))
            written += len(rows)
    return written


def _table(rows: list[tuple[Any, ...]]) -> pa.Table:
    item_ids, hashes, vectors, terms, at = zip(*rows, strict=True)
    columns = (item_ids, [one.bytes for one in hashes], vectors, terms, at)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, VECTORS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=VECTORS)
