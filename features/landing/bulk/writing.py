"""Interactions in columns, written as one stream of bytes: the same statements as for rows, at a fraction of the work.

The stream is PostgreSQL's binary COPY format: a header, then for each row its number of fields and for each field its
length (-1 for null) and its bytes, in network order.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts.event_problems import SCHEMA_VERSION
from features.contracts.times import to_us
from features.db.connection import Connection
from features.db.queries import queries
from features.landing.write import CopyInHope

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
_POSTGRES_EPOCH_US: Final = 946_684_800_000_000
"""Where Postgres counts from: 2000-01-01."""
_NO_CONTEXT: Final = b"\x01{}"
"""An empty object as jsonb, after the version of its form."""
_WRITTEN_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Columns:
    """Interactions, each known since it occurred.

    Attributes
    ----------
    event_ids, user_ids, item_ids, actions
        Text; an item id may be null.
    values
        NaN where there is none.
    at_us
        When they occurred, microseconds since 1970 UTC.
    """

    event_ids: pa.Array
    user_ids: pa.Array
    item_ids: pa.Array
    actions: pa.Array
    values: npt.NDArray[np.float64]
    at_us: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return how many they are."""
        return len(self.event_ids)

    def take(self, rows: npt.NDArray[np.integer]) -> "Columns":
        """Return some of them, in the order asked for."""
        at = pa.array(rows)
        return Columns(
            self.event_ids.take(at),
            self.user_ids.take(at),
            self.item_ids.take(at),
            self.actions.take(at),
            self.values[rows],
            self.at_us[rows],
        )


@dataclass(frozen=True, slots=True)
class Target:
    """Under which topic and partition rows are counted, and the offset of the first."""

    topic: str
    partition: int
    offset: int


class ColumnsWriter:
    """Writes columns as `features.landing.write.Writer` writes rows; one for each session."""

    def __init__(self) -> None:
        self._hope = CopyInHope()

    def write(self, connection: Connection, columns: Columns, target: Target, landed_at: datetime) -> int:
        """Return how many interactions were new, after writing them and what their users have seen.

        Raises
        ------
        UnavailableError
            If another transaction stored one of them meanwhile: trying again will find it.
        """
        # In the order of the index, as all landings write: neighbours share pages, and no two wait in a circle.
        new = self._hope.store(
            connection,
            columns.take(pc.array_sort_indices(columns.event_ids).to_numpy()),
            copy=lambda some: _copy(connection, queries.copy_interactions.sql, _rows(some, target, landed_at)),
            only_new=lambda some: _new(connection, some),
        )
        _keep_seen(connection, new)
        return len(new)


def _new(connection: Connection, columns: Columns) -> Columns:
    """Return interactions whose event id is not stored yet, of equal ids (which stand together) the first."""
    stored = queries.stored_interactions(connection, event_ids=columns.event_ids.to_pylist())
    known = pa.array([event_id for (event_id,) in stored], pa.string())
    is_new = ~pc.is_in(columns.event_ids, value_set=known).to_numpy(zero_copy_only=False)
    same = pc.equal(columns.event_ids[1:], columns.event_ids[:-1]).to_numpy(zero_copy_only=False)
    is_new[1:] &= ~same.astype(bool)
    return columns.take(np.flatnonzero(is_new))


def _keep_seen(connection: Connection, columns: Columns) -> None:
    """Add the items of new interactions to what their users have seen."""
    pairs = pa.table({"user": columns.user_ids, "item": columns.item_ids}).drop_null()
    distinct = pairs.group_by(["user", "item"]).aggregate([]).combine_chunks()
    if len(distinct):
        fields = (_text(distinct[name].combine_chunks()) for name in ("user", "item"))
        parts = [_constant(_int2(2), len(distinct)), *(part for field in fields for part in field)]
        _copy(connection, queries.copy_seen.sql, parts)
        queries.keep_seen(connection)


def _copy(connection: Connection, statement: str, parts: list[pa.Array]) -> None:
    """Send rows of which each column holds the next bytes."""
    if not len(parts[0]):
        return
    body = memoryview(pc.binary_join_element_wise(*parts, b"").buffers()[2])
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(_HEADER)
        for at in range(0, len(body), _WRITTEN_AT_ONCE):
            copy.write(body[at : at + _WRITTEN_AT_ONCE])
        copy.write(_TRAILER)


def _rows(columns: Columns, target: Target, landed_at: datetime) -> list[pa.Array]:
    texts = (columns.event_ids, columns.user_ids, columns.item_ids, columns.actions)
    return [
        _constant(_int2(14), len(columns)),
        *(part for text in texts for part in _text(text)),
        _values(columns.values),
        _rest(columns.at_us, target, to_us(landed_at)),
    ]


def _text(text: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return lengths and bytes of text, -1 and none where null."""
    length = pc.fill_null(pc.binary_length(text), -1).to_numpy(zero_copy_only=False)
    return _fixed(length.astype(">i4")), pc.fill_null(text.cast(pa.binary()), b"")


def _values(values: npt.NDArray[np.float64]) -> pa.Array:
    told = np.empty(len(values), dtype=[("length", ">i4"), ("value", ">f8")])
    told["length"], told["value"] = 8, values
    return pc.if_else(pa.array(np.isnan(values)), pa.scalar(_NULL, pa.binary()), _fixed(told))


def _rest(at_us: npt.NDArray[np.int64], target: Target, landed_us: int) -> pa.Array:
    """Return what follows the value: times, version, no recommendation, no context, and the place."""
    topic = target.topic.encode()
    form = [
        *(("8a", ">i4"), ("occurred_at", ">i8"), ("8b", ">i4"), ("known_at", ">i8"), ("8c", ">i4")),
        *(("landed_at", ">i8"), ("2", ">i4"), ("version", ">i2"), ("null", ">i4")),
        *(("3", ">i4"), ("context", f"S{len(_NO_CONTEXT)}"), ("topic_length", ">i4"), ("topic", f"S{len(topic)}")),
        *(("4", ">i4"), ("partition", ">i4"), ("8d", ">i4"), ("offset", ">i8")),
    ]
    rest = np.empty(len(at_us), dtype=form)
    rest["occurred_at"] = at_us - _POSTGRES_EPOCH_US
    rest["known_at"] = np.minimum(at_us, landed_us) - _POSTGRES_EPOCH_US
    rest["landed_at"] = landed_us - _POSTGRES_EPOCH_US
    rest["version"], rest["null"], rest["context"] = SCHEMA_VERSION, -1, _NO_CONTEXT
    rest["topic"], rest["topic_length"], rest["partition"] = topic, len(topic), target.partition
    rest["offset"] = np.arange(target.offset, target.offset + len(at_us))
    for name in ("8a", "8b", "8c", "8d", "4", "3", "2"):
        rest[name] = int(name[0])
    return _fixed(rest)


def _fixed(values: npt.NDArray[np.generic]) -> pa.Array:
    """Return an array's elements as bytes."""
    width = values.dtype.itemsize
    offsets = np.arange(0, (len(values) + 1) * width, width, dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(values.tobytes())]
    return pa.Array.from_buffers(pa.binary(), len(values), buffers)


def _constant(content: bytes, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(content, pa.binary()), rows)


def _int2(number: int) -> bytes:
    return number.to_bytes(2, "big")
