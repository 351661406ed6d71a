"""Bulk import: rows of files become events and land by the same statements as those from Kafka."""

import hashlib
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from features.contracts.event_problems import SCHEMA_VERSION, diagnose_fields
from features.contracts.events import EVENT_TYPES, BaseEvent, Interaction, Item, User
from features.db.connection import Connection, connect, database_errors
from features.db.gate import enter_gate
from features.db.queries import queries
from features.landing.columns import FIELDS, REQUIRED, ColumnError
from features.landing.files import FileError, Table, open_table
from features.landing.rows import ROWS, Row
from features.landing.write import prepare, write_rows
from features.settings import Settings

IMPORTED: Final = "import"
"""Cluster, topic and topic id under which imported rows are counted; each kind of event is a partition."""
PARTITIONS: Final[Mapping[type[BaseEvent], int]] = {Interaction: 0, Item: 1, User: 2}
_NAMESPACE: Final = uuid.UUID("6f1c2d58-3f63-5d0a-9b0e-3f7d7a1c4e21")
"""Of event ids derived from rows; any fixed UUID, so that the same row gives the same id for ever."""
_PROBLEMS_SHOWN: Final = 10

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Imported:
    """How many rows were new, and how many were there already."""

    stored: int
    duplicate: int


@dataclass(slots=True)
class _Ids:
    """Event ids from what rows say, so that importing them again changes nothing; equal rows are numbered."""

    _seen: set[int] = field(default_factory=set)
    _repeats: Counter[int] = field(default_factory=Counter)

    def derive(self, kind: type[BaseEvent], fields: Fields) -> str:
        # An id is the same whether a file holds it as a number or as text.
        plain = {name: str(value) if name.endswith("_id") else value for name, value in fields.items()}
        content = msgspec.json.encode([kind.__name__, plain])
        digest = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest())
        if digest in self._seen:
            self._repeats[digest] += 1
        else:
            self._seen.add(digest)
        return str(uuid.uuid5(_NAMESPACE, f"{content.decode()}{self._repeats[digest] or ''}"))


def import_file(
    settings: Settings,
    kind: type[BaseEvent],
    path: Path,
    now: datetime,
    on_rows: Callable[[int], None] = lambda _: None,
) -> Imported:
    """Return what importing a file did; doing it again, after an interruption or not, stores only what is missing.

    Parameters
    ----------
    settings
        Where Postgres is.
    kind
        What its rows are: `Interaction`, `Item` or `User`.
    path
        A parquet or CSV file.
    now
        Aware UTC; the `occurred_at` of items and users that have none.
    on_rows
        Told how many more rows are done.

    Raises
    ------
    FileError
        Naming file, row, column and value; rows before that chunk are stored.
    UnavailableError
        If Postgres is away; rows of finished chunks are stored.
    """
    table = open_table(path)
    _check_columns(table, kind)
    stored = total = 0
    ids = _Ids()
    with connect(settings, name="import", statement_timeout_s=300) as connection:
        prepare(connection)
        for chunk in table.chunks():
            events = _events(table, kind, chunk, ids, now, first_row=total + 1)
            with database_errors(f"importing {path}"), connection.transaction():
                stored += _write(connection, kind, events)
            total += len(events)
            on_rows(len(events))
    return Imported(stored, total - stored)


def _check_columns(table: Table, kind: type[BaseEvent]) -> None:
    missing = [name for name in REQUIRED[kind] if name not in table.columns]
    if missing:
        raise FileError(
            f"{table.path}: no column {', '.join(missing)} among {', '.join(table.columns)}; "
            f"{kind.__name__.lower()}s need {', '.join(REQUIRED[kind])}"
        )


def _events(
    table: Table, kind: type[BaseEvent], chunk: dict[str, list[Any]], ids: _Ids, now: datetime, *, first_row: int
) -> list[BaseEvent]:
    events, problems = [], []
    for row, values in enumerate(_rows(chunk), first_row):
        try:
            fields = FIELDS[kind](values)
            event_id = values.get("event_id") or ids.derive(kind, fields)
            complete = {"event_id": event_id, "schema_version": SCHEMA_VERSION, "occurred_at": now, **fields}
            events.append(msgspec.convert(complete, kind))
        except msgspec.ValidationError:
            problems += [
                f"row {row}, column {path}: {values.get(path.partition('[')[0])!r:.100}: {message}"
                for path, message in diagnose_fields(
                    complete | {"type": kind.__struct_config__.tag}, EVENT_TYPES
                ).problems
            ]
        except ColumnError as problem:
            problems.append(f"row {row}, column {problem.column}: {problem}")
        if len(problems) >= _PROBLEMS_SHOWN:
            break
    if problems:
        shown = "\n  ".join(problems[:_PROBLEMS_SHOWN])
        raise FileError(f"{table.path}: rows that cannot be imported (at most {_PROBLEMS_SHOWN} shown):\n  {shown}")
    return events


def _rows(chunk: dict[str, list[Any]]) -> Iterator[Fields]:
    names = tuple(chunk)
    for values in zip(*chunk.values(), strict=True):
        yield dict(zip(names, values, strict=True))


def _write(connection: Connection, kind: type[BaseEvent], events: list[BaseEvent]) -> int:
    """Return how many events were new, after writing them and counting all of them in the transaction under way."""
    landed_at = enter_gate(connection)
    key = {"cluster_id": IMPORTED, "topic": IMPORTED, "topic_id": IMPORTED, "partition": PARTITIONS[kind]}
    queries.begin_partition(connection, **key, first_offset=0)
    [(_, partition, at)] = queries.lock_offsets(
        connection,
        cluster_id=IMPORTED,
        topics=[IMPORTED],
        topic_ids=[IMPORTED],
        partitions=[PARTITIONS[kind]],
    )
    to_row = ROWS[kind]
    rows: list[Row] = [
        to_row(event, event.occurred_at, IMPORTED, partition, offset) for offset, event in enumerate(events, at)
    ]
    stored = write_rows(connection, {kind: rows}, landed_at)[IMPORTED, partition]
    queries.move_offset(
        connection,
        **key,
        expected=at,
        next_offset=at + len(rows),
        stored=stored,
        duplicate=len(rows) - stored,
        dead=0,
        skipped=0,
        late=0,
        ahead=0,
    )
    return stored
