"""From chunks of a file to rows: interactions whole columns at a time, items and users one by one."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from typing import Any, Final, Protocol, Self, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa

from features.contracts.event_problems import SCHEMA_VERSION, diagnose_fields
from features.contracts.events import EVENT_TYPES, BaseEvent, Interaction, Item, User
from features.landing import reading, row_ids
from features.landing.columns import FIELDS, ColumnError
from features.landing.files import Chunk, Table
from features.landing.report import Report
from features.landing.row_ids import Lanes, Repeats
from features.landing.rows import ROWS, Row

REQUIRED: Final[Mapping[type[BaseEvent], tuple[str, ...]]] = {
    Interaction: ("user_id", "item_id", "occurred_at"),
    Item: ("item_id",),
    User: ("user_id",),
}


class _Content(Protocol):
    """Good rows of a chunk, without their place and their event ids."""

    def rows_of(self, event_ids: Sequence[str], topic: str, partition: int, offset: int) -> list[Row]:
        """Return them as rows."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A chunk that is ready to be written.

    Attributes
    ----------
    first, rows
        How many rows of the file stand before it, and how many it has, bad ones among them.
    event_ids
        The ids of its good rows.
    """

    first: int
    rows: int
    event_ids: Sequence[str]
    _content: _Content

    def rows_of(self, topic: str, partition: int, offset: int) -> list[Row]:
        """Return the rows of its good ones, counted from an offset."""
        return self._content.rows_of(self.event_ids, topic, partition, offset)


class Reader:
    """Reads a file twice: `note` each chunk, `settle`, then `read` each chunk, in the same order.

    Parameters
    ----------
    table
        The file.
    kind
        What its rows are: `Interaction`, `Item` or `User`.
    now
        Aware UTC; the `occurred_at` of items and users that have none, and what the future comes after.
    action
        What rows without a column `action` are; by default a `rating` where there are values, else a `view`.
    """

    def __init__(self, table: Table, kind: type[BaseEvent], now: datetime, action: str | None = None) -> None:
        self.table = table
        self.kind = kind
        self._now = now
        self._action = action or ("rating" if "value" in table.columns else "view")
        self._repeats = Repeats()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forget what was noted."""
        self._repeats.close()

    def digest(self, *, skip_bad: bool) -> bytes:
        """Return what tells an import of this file, in this way, from others."""
        way = msgspec.json.encode([self.kind.__name__, self._action, skip_bad])
        return hashlib.sha256(self.table.digest() + way).digest()

    def note(self, chunk: Chunk, report: Report) -> None:
        """Look at some rows: tell the report what is wrong with them, and remember the others to find equal ones."""
        lanes, _, _ = self._read(chunk, report)
        self._repeats.note(lanes)

    def settle(self) -> int:
        """Return how many rows repeat an earlier one, after all were noted."""
        return self._repeats.settle()

    def read(self, chunk: Chunk, report: Report) -> Batch:
        """Return some rows, ready to be written."""
        lanes, own_ids, content = self._read(chunk, report)
        self._repeats.number(lanes)
        derived = row_ids.spell(lanes)
        event_ids = derived if own_ids is None else [own or ours for own, ours in zip(own_ids, derived, strict=True)]
        return Batch(chunk.first, chunk.rows, event_ids, content)

    def _read(self, chunk: Chunk, report: Report) -> tuple[Lanes, Sequence[str | None] | None, _Content]:
        if self.kind is Interaction:
            lanes, own, bad, content = _interactions(chunk, report, self._action, self._now)
        else:
            lanes, own, bad, content = _catalogue(chunk, report, self.kind, self._now)
        report.rows += chunk.rows
        report.bad_rows += bad
        return lanes, own, content


_Read: TypeAlias = tuple[Lanes, Sequence[str | None] | None, int, _Content]
"""Lanes and own ids of good rows, how many are bad, and the content of the good ones."""


@dataclass(frozen=True, slots=True)
class _Interactions:
    user_ids: pa.Array
    item_ids: pa.Array
    actions: pa.Array | str
    values: np.ndarray[Any, np.dtype[np.float64]]
    at_us: np.ndarray[Any, np.dtype[np.int64]]

    def rows_of(self, event_ids: Sequence[str], topic: str, partition: int, offset: int) -> list[Row]:
        """Return them as rows, known since they occurred."""
        actions = repeat(self.actions) if isinstance(self.actions, str) else self.actions.to_pylist()
        values = self.values.astype(object)
        values[np.isnan(self.values)] = None
        at = reading.datetimes(self.at_us)
        columns: tuple[Iterable[Any], ...] = (
            *(event_ids, self.user_ids.to_pylist(), self.item_ids.to_pylist(), actions, values.tolist(), at, at),
            *(repeat(SCHEMA_VERSION), repeat(None), repeat({}), repeat(topic), repeat(partition)),
            range(offset, offset + len(event_ids)),
        )
        return list(zip(*columns, strict=False))


def _interactions(chunk: Chunk, report: Report, action: str, now: datetime) -> _Read:
    found = reading.Findings(chunk, report)
    actions = reading.read_actions(found, "action") if "action" in chunk.columns else None
    users = reading.read_ids(found, "user_id")
    needs_item = None if actions is None else reading.other_than(actions, "search")
    items = reading.read_ids(found, "item_id", required=needs_item)
    at_us = reading.read_instants(found, "occurred_at", now)
    n = chunk.rows
    values = reading.read_numbers(found, "value") if "value" in chunk.columns else np.full(n, np.nan)
    own = reading.read_event_ids(found, "event_id") if "event_id" in chunk.columns else None
    lanes = row_ids.start(n)
    for text in (users, items, pa.array([action] * n) if actions is None else actions):
        row_ids.take_text(lanes, text)
    row_ids.take_numbers(lanes, at_us)
    row_ids.take_numbers(lanes, values, np.isnan(values))
    content = _Interactions(users, items, action if actions is None else actions, values, at_us)
    if not found.bad.any():
        return lanes, None if own is None else own.to_pylist(), 0, content
    good = ~found.bad
    keep = pa.array(good)
    kept = _Interactions(
        users.filter(keep),
        items.filter(keep),
        action if actions is None else actions.filter(keep),
        values[good],
        at_us[good],
    )
    own_ids = None if own is None else own.filter(keep).to_pylist()
    return lanes[good], own_ids, int(found.bad.sum()), kept


@dataclass(frozen=True, slots=True)
class _Catalogue:
    kind: type[BaseEvent]
    complete: Sequence[dict[str, Any]]

    def rows_of(self, event_ids: Sequence[str], topic: str, partition: int, offset: int) -> list[Row]:
        """Return them as rows, known since they occurred."""
        to_row = ROWS[self.kind]
        events = (
            msgspec.convert({**fields, "event_id": event_id}, self.kind)
            for fields, event_id in zip(self.complete, event_ids, strict=True)
        )
        return [to_row(event, event.occurred_at, topic, partition, at) for at, event in enumerate(events, offset)]


def _catalogue(chunk: Chunk, report: Report, kind: type[BaseEvent], now: datetime) -> _Read:
    complete, own, contents, bad = [], [], [], 0
    stamp = {"event_id": "derived", "schema_version": SCHEMA_VERSION, "occurred_at": now}
    for number, values in enumerate(chunk.dicts(), chunk.first + 1):
        try:
            fields = FIELDS[kind](values)
            own_id = values.get("event_id") or None
            whole = {**stamp, **fields, **({} if own_id is None else {"event_id": own_id})}
            msgspec.convert(whole, kind)
        except ColumnError as problem:
            report.add(problem.column, f"expected {problem.expected}", [(number, problem.value)], 1)
            bad += 1
        except msgspec.ValidationError:
            _tell(report, kind, number, whole, values)
            bad += 1
        else:
            complete.append(whole)
            own.append(own_id)
            contents.append(_spelt(fields))
    lanes = row_ids.start(len(contents))
    row_ids.take_text(lanes, pa.array(contents, pa.string()))
    return lanes, own, bad, _Catalogue(kind, complete)


def _tell(report: Report, kind: type[BaseEvent], number: int, whole: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Tell the report of every field that is wrong, by the name of its column."""
    tagged = {**whole, "type": kind.__struct_config__.tag}
    for path, message in diagnose_fields(tagged, EVENT_TYPES).problems:
        report.add(path, message, [(number, values.get(path.partition("[")[0]))], 1)


def _spelt(fields: Mapping[str, Any]) -> str:
    """Return fields as text that is the same whether a file holds an id as a number or as text."""
    plain = {name: str(value) if name.endswith("_id") else value for name, value in fields.items()}
    return msgspec.json.encode(plain, order="deterministic").decode()
