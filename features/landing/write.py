"""Rows into tables, idempotently: what has a new event id stays, and what is derived from it follows."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Final, TypeVar

from psycopg import errors

from features.contracts.errors import UnavailableError
from features.contracts.events import BaseEvent, Feedback, Impression, Interaction, Item, User
from features.db.connection import Connection, RefusedError, database_errors
from features.db.gate import enter_gate
from features.db.queries import queries
from features.landing.rows import Partition, Place, Row, Rows, place_of

Some = TypeVar("Some", bound=Sized)
"""Interactions in whatever form: rows or columns."""

LOOK_FIRST_BATCHES: Final = 32
"""Batches for which event ids are looked up before they are copied, once a duplicate was met: a copy that meets one
leaves its rows behind as waste, and duplicates come in swarms."""


@dataclass(frozen=True, slots=True)
class _Table:
    """How one kind of event gets into its table by way of a staging table: names of queries, types of its columns."""

    copy: str
    store: str
    types: tuple[str, ...]
    upkeep: tuple[str, ...] = ()


_PLACE: Final = ("text", "int4", "int8")
_INTERACTION_TYPES: Final = (
    *("text", "text", "text", "text", "float8", "timestamptz", "timestamptz", "timestamptz", "int2", "text", "jsonb"),
    *_PLACE,
)
_KNOWN_AT: Final = 6
"""Where an interaction's row says since when it is known; None for as long as it has landed."""
STAGED: Final[Mapping[type[BaseEvent], _Table]] = {
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
        ("text", "text", "bool", "jsonb", "timestamptz", "timestamptz", "int2", *_PLACE),
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
"""Upkeep that writes down when it was done, after `lock_catalogue`: changes are committed in the order of these times,
and who asks for what is later than all that they have read misses none, however long a transaction takes."""


_event_id: Final = itemgetter(0)


def prepare(connection: Connection) -> None:
    """Make the session ready to write: its staging tables exist."""
    with database_errors("making staging tables"):
        queries.create_staging(connection)
        connection.commit()


class CopyInHope:
    """Copies straight into a table in the hope that nothing is there yet; one for each session.

    When something is, the copy is taken back and only what is new is copied. It remembers whether duplicates are about.
    """

    def __init__(self) -> None:
        self._look_first = 0

    def store(
        self, connection: Connection, all_of_it: Some, *, copy: Callable[[Some], None], only_new: Callable[[Some], Some]
    ) -> Some:
        """Return what was new, after copying it in the transaction under way.

        Parameters
        ----------
        connection
            In a transaction.
        all_of_it
            What to copy.
        copy
            Copies some of it.
        only_new
            Leaves out what is there already.

        Raises
        ------
        UnavailableError
            If another transaction stored some of it meanwhile: trying again will find it.
        """
        if not self._look_first:
            try:
                with connection.transaction():
                    copy(all_of_it)
            except errors.UniqueViolation:
                self._look_first = LOOK_FIRST_BATCHES
            else:
                return all_of_it
        new = only_new(all_of_it)
        self._look_first = LOOK_FIRST_BATCHES if len(new) < len(all_of_it) else self._look_first - 1
        try:
            copy(new)
        except errors.UniqueViolation as error:
            raise UnavailableError("another process is landing the same events; trying again") from error
        return new


class Writer:
    """Writes rows in the transaction under way; one for each session.

    Interactions, nearly all of the load, are copied in hope; the rest is staged.
    """

    def __init__(self) -> None:
        self._hope = CopyInHope()

    def write(self, connection: Connection, rows: Rows, landed_at: datetime) -> Counter[Partition]:
        """Return how many rows of each partition were new, after writing them and what is derived from them.

        Raises
        ------
        UnavailableError
            If another transaction stored one of them meanwhile: trying again will find it.
        """
        stored: Counter[Partition] = Counter()
        for kind, of_kind in rows.items():
            if of_kind and kind is Interaction:
                stored += self._interactions(connection, of_kind, landed_at)
            elif of_kind:
                stored += _staged(connection, STAGED[kind], of_kind, landed_at)
        return stored

    def _interactions(self, connection: Connection, rows: Sequence[Row], landed_at: datetime) -> Counter[Partition]:
        new = self._hope.store(
            connection,
            rows,
            copy=lambda some: _copy_interactions(connection, some, landed_at),
            only_new=lambda some: _new(connection, some),
        )
        _keep_seen(connection, new)
        return Counter(row[-3:-1] for row in new)


def write_rows(connection: Connection, rows: Rows, landed_at: datetime) -> Counter[Partition]:
    """Return the same as `Writer.write`, for those who write once."""
    return Writer().write(connection, rows, landed_at)


def _new(connection: Connection, rows: Sequence[Row]) -> list[Row]:
    """Return rows whose event id is not stored yet; of equal ids the first."""
    by_id: dict[str, Row] = {}
    for row in rows:
        by_id.setdefault(row[0], row)
    for (event_id,) in queries.stored_interactions(connection, event_ids=list(by_id)):
        del by_id[event_id]
    return list(by_id.values())


def _copy_interactions(connection: Connection, rows: Iterable[Row], landed_at: datetime) -> None:
    with connection.cursor() as cursor, cursor.copy(queries.copy_interactions.sql) as copy:
        copy.set_types(_INTERACTION_TYPES)
        write = copy.write_row
        # In the order of the index, which all landings share: neighbours share pages, and no two wait in a circle.
        for row in sorted(rows, key=_event_id):
            known_at = row[_KNOWN_AT]
            known_at = landed_at if known_at is None else min(known_at, landed_at)
            write((*row[:_KNOWN_AT], known_at, landed_at, *row[_KNOWN_AT + 1 :]))


def _keep_seen(connection: Connection, rows: Iterable[Row]) -> None:
    """Add the items of new interactions to what their users have seen."""
    pairs = {row[1:3] for row in rows if row[2] is not None}
    if pairs:
        _copy(connection, queries.copy_seen.sql, ("text", "text"), pairs)
        queries.keep_seen(connection)


def _staged(connection: Connection, table: _Table, rows: Iterable[Row], landed_at: datetime) -> Counter[Partition]:
    stored: Counter[Partition] = Counter()
    _copy(connection, getattr(queries, table.copy).sql, table.types, rows)
    for topic, partition, count in getattr(queries, table.store)(connection, landed_at=landed_at):
        stored[topic, partition] += count
    for upkeep in table.upkeep:
        parameters = {"landed_at": queries.change_clock(connection)} if upkeep in _DATED else {}
        getattr(queries, upkeep)(connection, **parameters)
    return stored


def _copy(connection: Connection, statement: str, types: Sequence[str], rows: Iterable[Row]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(types)
        write = copy.write_row
        for row in rows:
            write(row)


def find_refused(connection: Connection, rows: Rows) -> dict[Place, str]:
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
        with database_errors("finding the row that it refuses"), connection.transaction(force_rollback=True):
            write_rows(connection, {kind: rows}, enter_gate(connection))
    except RefusedError as error:
        return str(error)
    return None
