"""Rows into tables, idempotently: staged by binary COPY, then kept where their event id is new."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from features.contracts.events import BaseEvent, Feedback, Impression, Interaction, Item, User
from features.db.connection import Connection, RefusedError, database_errors
from features.db.gate import enter_gate
from features.db.queries import queries
from features.landing.rows import Place, Row, place_of

Partition = tuple[str, int]
"""A topic and a partition's number."""


@dataclass(frozen=True, slots=True)
class _Table:
    """How one kind of event gets into its table: names of the queries, and types of the staging table's columns."""

    copy: str
    store: str
    types: tuple[str, ...]
    upkeep: tuple[str, ...] = ()


_PLACE: Final = ("text", "int4", "int8")
TABLES: Final[Mapping[type[BaseEvent], _Table]] = {
    Interaction: _Table(
        "copy_interactions",
        "store_interactions",
        (
            *("text", "text", "text", "text", "float8", "timestamptz", "timestamptz", "int2", "text", "jsonb"),
            *_PLACE,
        ),
        ("keep_seen",),
    ),
    Impression: _Table(
        "copy_impressions",
        "store_impressions",
        (
            *("text", "text", "text", "text", "text", "text", "text", "text[]", "int4[]", "text[]", "float8[]"),
            *("float8[]", "timestamptz", "timestamptz", "int2", "jsonb"),
            *_PLACE,
        ),
    ),
    Item: _Table(
        "copy_items",
        "store_items",
        (
            *("text", "text", "bool", "jsonb", "timestamptz", "timestamptz", "int2"),
            *_PLACE,
        ),
        ("lock_catalogue", "keep_newest_items", "merge_items"),
    ),
    User: _Table(
        "copy_users",
        "store_users",
        ("text", "text", "bool", "jsonb", "timestamptz", "timestamptz", "int2", *_PLACE),
        ("lock_catalogue", "keep_newest_users", "merge_users"),
    ),
    Feedback: _Table(
        "copy_feedback",
        "store_feedback",
        ("text", "text", "text", "text", "text", "timestamptz", "timestamptz", "int2", *_PLACE),
    ),
}

_DATED: Final = frozenset({"keep_newest_items", "merge_items", "keep_newest_users", "merge_users"})
"""Upkeep that writes down when it was done."""


def prepare(connection: Connection) -> None:
    """Make the session ready to write: its staging tables exist."""
    with database_errors("making staging tables"):
        queries.create_staging(connection)
        connection.commit()


def write_rows(
    connection: Connection, rows: Mapping[type[BaseEvent], Sequence[Row]], landed_at: datetime
) -> Counter[Partition]:
    """Return how many rows of each partition were new, after writing them and what is derived from them."""
    stored: Counter[Partition] = Counter()
    for kind, of_kind in rows.items():
        if of_kind:
            table = TABLES[kind]
            _copy(connection, getattr(queries, table.copy).sql, table.types, of_kind)
            for topic, partition, count in getattr(queries, table.store)(connection, landed_at=landed_at):
                stored[topic, partition] += count
            for upkeep in table.upkeep:
                parameters = {"landed_at": landed_at} if upkeep in _DATED else {}
                getattr(queries, upkeep)(connection, **parameters)
    return stored


def _copy(connection: Connection, statement: str, types: Sequence[str], rows: Iterable[Row]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(types)
        write = copy.write_row
        for row in rows:
            write(row)


def find_refused(connection: Connection, rows: Mapping[type[BaseEvent], Sequence[Row]]) -> dict[Place, str]:
    """Return the messages whose rows the database refuses, with its words: found by halving, nothing stays written."""
    refused: dict[Place, str] = {}
    for kind, of_kind in rows.items():
        _halve(connection, kind, of_kind, refused)
    return refused


def _halve(connection: Connection, kind: type[BaseEvent], rows: Sequence[Row], refused: dict[Place, str]) -> None:
    if not rows or (reason := _refusal(connection, kind, rows)) is None:
        return
    if len(rows) == 1:
        refused[place_of(rows[0])] = reason
        return
    middle = len(rows) // 2
    _halve(connection, kind, rows[:middle], refused)
    _halve(connection, kind, rows[middle:], refused)


def _refusal(connection: Connection, kind: type[BaseEvent], rows: Sequence[Row]) -> str | None:
    """Return why the database refuses some rows, or None; either way nothing stays written."""
    try:
        with database_errors("finding the row that it refuses"):
            write_rows(connection, {kind: rows}, enter_gate(connection))
    except RefusedError as error:
        return str(error)
    finally:
        connection.rollback()
    return None
