"""A frozen copy of what training reads: interactions in parts and items, as parquet, with counts and digests."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from features.build.earlier import COUNTED_FILE, EARLIER_FILE, write_earlier
from features.build.part_files import PartFiles
from features.build.progress import Progress, read_progress
from features.contracts.hashes import sha256_of
from features.contracts.parts import FOLDER, GONE
from features.contracts.statistics import bucket_edge
from features.contracts.times import EPOCH, from_us, to_us
from features.contracts.weights import ActionWeights
from features.contracts.weights_file import SaidWeights, load_weights
from features.db.connection import Connection, connect, database_errors
from features.db.gate import landed_before
from features.db.queries import queries
from features.served import statistics_at
from features.settings import Settings

ROWS_AT_ONCE: Final = 50_000
"""Rows of a query that are held in memory at a time."""

OF_EVENTS: Final = (
    ("event_id", pa.string()),
    ("user_id", pa.string()),
    ("item_id", pa.string()),
    ("action", pa.string()),
    ("value", pa.float64()),
    ("occurred_at", pa.timestamp("us", tz="UTC")),
    ("known_at", pa.timestamp("us", tz="UTC")),
)
INTERACTIONS: Final = pa.schema([*OF_EVENTS, ("repeat", pa.bool_())])
GONE_INTERACTIONS: Final = pa.schema([("user_id", pa.string()), ("item_id", pa.string())])
ITEMS: Final = pa.schema(
    [
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("text", pa.string()),
        ("categories", pa.list_(pa.string())),
        ("attributes", pa.string()),
        ("published_at", pa.timestamp("us", tz="UTC")),
        ("deleted", pa.bool_()),
        ("first_known_at", pa.timestamp("us", tz="UTC")),
    ]
)
ITEMS_FILE: Final = "items.parquet"


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """What a snapshot holds; times in microseconds since 1970 UTC, None where there are no rows.

    Attributes
    ----------
    since_us, until_us
        The half-open range of `known_at` that was taken.
    interactions, items
        How many rows there are of each.
    first_known_us, last_known_us
        The earliest and the latest `known_at` in it.
    first_occurred_us, last_occurred_us
        The earliest and the latest `occurred_at` in it.
    events
        How many events of each action have ever landed, whatever the range.
    weights
        What the data and the file of weights lead to: live statistics go by them as soon as a version serves that was
        trained by them.
    rows
        Interactions of each part, by the name of its file.
    sha256
        Digest of each file, by its path in the folder.
    """

    since_us: int
    until_us: int
    interactions: int
    items: int
    first_known_us: int | None
    last_known_us: int | None
    first_occurred_us: int | None
    last_occurred_us: int | None
    events: dict[str, int]
    weights: ActionWeights
    rows: dict[str, int]
    sha256: dict[str, str]


def write_snapshot(
    settings: Settings,
    folder: Path,
    until_us: int | None = None,
    since_us: int | None = None,
    *,
    gone: bool = False,
) -> SnapshotInfo:
    """Return what was written: `interactions/` in parts by user, each by (known_at, event_id), and `items.parquet`.

    What an interaction repeats may have been known before `since_us`: `repeat` is as live statistics have it. So is
    what items had met before the first interaction, be it gone or left out: it is beside them (`EARLIER_FILE`). Where
    retention deleted events among those that are left, as topics keep theirs for different times, so is what items had
    met by then (`COUNTED_FILE`). Nobody is in it who was erased before this returns.

    Parameters
    ----------
    settings
        Where Postgres is, and the file of weights if there is one.
    folder
        Where the files go; it must exist.
    until_us
        Only what was known before it, microseconds since 1970 UTC; everything landed so far by default.
    since_us
        Only interactions known at or after it, or up to a bucket before: at or after the edge of its bucket.
    gone
        Whether what users had and retention has deleted goes into `gone/`, in parts by user, too.

    Raises
    ------
    UnavailableError
        If Postgres is away; files in the folder are incomplete then.
    ContractError
        If the file of weights breaks its contract.
    """
    said = load_weights(settings.action_weights)
    for name in (FOLDER, GONE) if gone else (FOLDER,):
        (folder / name).mkdir(exist_ok=True)
    connection = connect(settings, name="snapshot", statement_timeout_s=1_800)
    with connection, database_errors("writing a snapshot"):
        while True:
            info, erasures = _write(connection, folder, said, until_us, since_us, gone=gone)
            with connection.transaction():
                if queries.newest_erasure(connection) == erasures:
                    return info
            # Somebody was erased while their rows were read: once more, without them.


def _write(
    connection: Connection,
    folder: Path,
    said: SaidWeights,
    until_us: int | None,
    since_us: int | None,
    *,
    gone: bool,
) -> tuple[SnapshotInfo, int]:
    """Return what was written, and the newest erasure that it knows of."""
    landed_until = landed_before(connection)
    until = landed_until if until_us is None else min(from_us(until_us), landed_until)
    since = EPOCH if since_us is None else from_us(bucket_edge(since_us))
    with connection.transaction():
        queries.one_snapshot(connection)
        erasures = int(queries.newest_erasure(connection))
        progress = read_progress(connection)
        shape, weights = progress.weighed(connection, landed_until, said)
        rows, *times = queries.snapshot_summary(connection, since=since, until=until)
        taken = {"since": since, "until": until}
        rows_of = _write_parts(connection, queries.snapshot_interactions.sql, taken, INTERACTIONS, folder / FOLDER)
        if gone:
            _write_parts(connection, queries.gone_interactions.sql, {}, GONE_INTERACTIONS, folder / GONE)
        items = write_rows(connection, queries.snapshot_items.sql, {"until": until}, ITEMS, folder / ITEMS_FILE)
        first_known, last_known, first_occurred, last_occurred = (None if at is None else to_us(at) for at in times)
        begins = first_known if since_us is None else to_us(since)
        edges = {} if begins is None else _edges(bucket_edge(begins), to_us(until), progress)
        met = [name for name, edge_us in edges.items() if _write_earlier(connection, edge_us, progress, folder / name)]
    files = [*(f"{FOLDER}/{part}" for part in rows_of), ITEMS_FILE, *met]
    info = SnapshotInfo(
        since_us=to_us(since),
        until_us=to_us(until),
        interactions=rows,
        items=items,
        first_known_us=first_known,
        last_known_us=last_known,
        first_occurred_us=first_occurred,
        last_occurred_us=last_occurred,
        events=dict(shape.events),
        weights=weights,
        rows=rows_of,
        sha256={name: sha256_of(folder / name) for name in files},
    )
    return info, erasures


def _write_parts(
    connection: Connection, query: str, parameters: dict[str, datetime], schema: pa.Schema, folder: Path
) -> dict[str, int]:
    """Return how many rows of a query each part was given, by the name of its file."""
    with PartFiles(folder, schema) as parts:
        for table in tables(connection, query, parameters, schema):
            parts.write(table)
    return parts.rows


def _edges(begins_us: int, until_us: int, progress: Progress) -> dict[str, int]:
    """Return at which edges stored statistics are to be written, by file."""
    base_us = to_us(progress.base_at)
    return {EARLIER_FILE: begins_us} | ({COUNTED_FILE: base_us} if begins_us < base_us <= until_us else {})


def _write_earlier(connection: Connection, edge_us: int, progress: Progress, file: Path) -> bool:
    """Write what items had met before an edge, and return whether any had; stored statistics must have reached it."""
    if edge_us > to_us(progress.closed_at):
        return False
    rows = statistics_at(connection, edge_us)
    if len(rows.item_ids):
        write_earlier(rows, file)
    return len(rows.item_ids) > 0


def write_rows(
    connection: Connection, query: str, parameters: dict[str, datetime], schema: pa.Schema, file: Path
) -> int:
    """Return how many rows of a query were written as parquet, never holding more than some of them.

    The connection must be in a transaction, the columns those of the schema, in its order.
    """
    written = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in tables(connection, query, parameters, schema):
            writer.write_table(rows)
            written += len(rows)
    return written


def tables(
    connection: Connection, query: str, parameters: dict[str, datetime], schema: pa.Schema
) -> Iterator[pa.Table]:
    """Yield the rows of a query, never holding more than some of them.

    The connection must be in a transaction, the columns those of the schema, in its order.
    """
    with connection.cursor("snapshot") as cursor:
        cursor.execute(query, parameters, binary=True)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            yield _table(rows, schema)


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)
