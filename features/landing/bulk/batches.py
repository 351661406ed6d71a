"""From chunks of a file to rows: interactions whole columns at a time, items and users one by one."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Self

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts.event_problems import SCHEMA_VERSION, EventError, diagnose_fields, holds_nul
from features.contracts.events import EVENT_TYPES, BaseEvent, Interaction, Item, User
from features.contracts.plausible import check_time
from features.contracts.times import to_us
from features.landing.bulk import reading, row_ids
from features.landing.bulk.columns import FIELDS, ColumnError
from features.landing.bulk.files import Chunk, Table
from features.landing.bulk.report import Report
from features.landing.bulk.row_ids import Lanes, Repeats
from features.landing.bulk.writing import Columns, Target
from features.landing.rows import ROWS, Row

REQUIRED: Final[Mapping[type[BaseEvent], tuple[str, ...]]] = {
    Interaction: ("user_id", "item_id", "occurred_at"),
    Item: ("item_id",),
    User: ("user_id",),
}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Items or users that are ready to be written: whole fields, and their event ids.

    Attributes
    ----------
    kind
        `Item` or `User`.
    complete
        The fields of each.
    numbers
        Which rows of the file they are, from 1.
    undated
        Which have no time of their own: they occur when their import starts, in the order of the file.
    unnamed
        Which of these have no event id of their own either: they are news only where they say something new.
    """

    kind: type[BaseEvent]
    complete: Sequence[dict[str, Any]]
    numbers: npt.NDArray[np.int64]
    undated: npt.NDArray[np.bool_]
    unnamed: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """Return how many they are."""
        return len(self.complete)

    def begun(self, started_at: datetime, lanes: Lanes) -> "Catalogue":
        """Return them with times, and take those that are the import's into what tells rows apart, in place.

        What was so before, was otherwise since and is so again must count as news, and so must its id.
        """
        at_us = to_us(started_at) + self.numbers
        part = lanes[self.undated]
        row_ids.take_numbers(part, at_us[self.undated])
        lanes[self.undated] = part
        complete = list(self.complete)
        for place in np.flatnonzero(self.undated).tolist():
            occurred_at = started_at + timedelta(microseconds=int(self.numbers[place]))
            complete[place] = {**complete[place], "occurred_at": occurred_at}
        return replace(self, complete=complete)

    def with_ids(self, event_ids: Sequence[str | None], derived: Sequence[str]) -> "Catalogue":
        """Return them with ids of their own, or derived ones."""
        ids = (own or ours for own, ours in zip(event_ids, derived, strict=True))
        complete = [{**one, "event_id": at} for one, at in zip(self.complete, ids, strict=True)]
        return replace(self, complete=complete)

    def rows(self, target: Target) -> list[Row]:
        """Return them as rows, known since they occurred."""
        events = (msgspec.convert(fields, self.kind) for fields in self.complete)
        to_row = ROWS[self.kind]
        place = target.topic, target.partition
        return [to_row(event, event.occurred_at, *place, at) for at, event in enumerate(events, target.offset)]


@dataclass(frozen=True, slots=True)
class Batch:
    """A chunk that is ready to be written.

    Attributes
    ----------
    first, rows
        How many rows of the file stand before it, and how many it has, bad ones among them.
    content
        Its good rows.
    """

    first: int
    rows: int
    content: Columns | Catalogue


class Reader:
    """Reads a file twice: `note` each chunk, `settle`, then `read` each chunk, in the same order.

    Parameters
    ----------
    table
        The file.
    kind
        What its rows are: `Interaction`, `Item` or `User`.
    now
        Aware UTC; what the future comes after.
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
        self._repeats.note(self._read(chunk, report)[0])

    def settle(self) -> int:
        """Return how many rows repeat an earlier one, after all were noted."""
        return self._repeats.settle()

    def read(self, chunk: Chunk, report: Report, started_at: datetime) -> Batch:
        """Return some rows, ready to be written by an import that started at an instant, however often it went on."""
        lanes, own, content = self._read(chunk, report)
        self._repeats.number(lanes)
        if isinstance(content, Catalogue):
            dated = content.begun(started_at, lanes)
            return Batch(chunk.first, chunk.rows, dated.with_ids(own.to_pylist(), row_ids.spell(lanes).to_pylist()))
        return Batch(chunk.first, chunk.rows, replace(content, event_ids=pc.coalesce(own, row_ids.spell(lanes))))

    def _read(self, chunk: Chunk, report: Report) -> tuple[Lanes, pa.Array, Columns | Catalogue]:
        """Return the good rows: what tells them apart, event ids of their own, and what they say."""
        content: Columns | Catalogue
        if self.kind is Interaction:
            lanes, content = _interactions(chunk, report, self._action, self._now)
            own = content.event_ids
        else:
            lanes, own, content = _catalogue(chunk, report, self.kind, self._now)
        report.rows += chunk.rows
        report.bad_rows += chunk.rows - len(content)
        return lanes, own, content


def _interactions(chunk: Chunk, report: Report, action: str, now: datetime) -> tuple[Lanes, Columns]:
    found = reading.Findings(chunk, report)
    has, n = chunk.columns.keys(), chunk.rows
    actions = reading.read_actions(found, "action") if "action" in has else pa.repeat(pa.scalar(action), n)
    users = reading.read_ids(found, "user_id")
    items = reading.read_ids(found, "item_id", required=reading.other_than(actions, "search"))
    at_us = reading.read_instants(found, "occurred_at", now)
    values = reading.read_numbers(found, "value") if "value" in has else np.full(n, np.nan)
    own = reading.read_event_ids(found, "event_id") if "event_id" in has else pa.nulls(n, pa.string())
    columns = Columns(own, users, items, actions, values, at_us)
    if found.bad.any():
        columns = columns.take(np.flatnonzero(~found.bad))
    return _lanes(columns), columns


def _lanes(columns: Columns) -> Lanes:
    lanes = row_ids.start(len(columns))
    for text in (columns.user_ids, columns.item_ids, columns.actions):
        row_ids.take_text(lanes, text)
    row_ids.take_numbers(lanes, columns.at_us)
    row_ids.take_numbers(lanes, columns.values, np.isnan(columns.values))
    return lanes


def _catalogue(chunk: Chunk, report: Report, kind: type[BaseEvent], now: datetime) -> tuple[Lanes, pa.Array, Catalogue]:
    complete, own, contents, numbers, undated = [], [], [], [], []
    stamp = {"event_id": "derived", "schema_version": SCHEMA_VERSION, "occurred_at": now}
    for number, values in enumerate(chunk.dicts(), chunk.first + 1):
        try:
            fields = FIELDS[kind](values)
            own_id = values.get("event_id") or None
            whole = {**stamp, **fields, **({} if own_id is None else {"event_id": own_id})}
            check_time(msgspec.convert(whole, kind).occurred_at, now)
        except ColumnError as problem:
            report.add(problem.column, f"expected {problem.expected}", [(number, problem.value)], 1)
        except msgspec.ValidationError:
            _tell(report, kind, number, whole, values)
        except EventError as error:
            message = reading.BEFORE_1970 if error.code == "far_past" else reading.after_now(now)
            report.add("occurred_at", message, [(number, values["occurred_at"])], 1)
        else:
            spelt = _spelt(fields)
            if "\0" in (own_id or "") or _holds_nul(spelt):
                _tell(report, kind, number, whole, values)
                continue
            complete.append(whole)
            own.append(own_id)
            contents.append(spelt)
            numbers.append(number)
            undated.append("occurred_at" not in fields)
    lanes = row_ids.start(len(contents))
    row_ids.take_text(lanes, pa.array(contents, pa.string()))
    dateless = np.array(undated, dtype=bool)
    unnamed = dateless & np.array([one is None for one in own], dtype=bool)
    found = Catalogue(kind, complete, np.array(numbers, dtype=np.int64), dateless, unnamed)
    return lanes, pa.array(own, pa.string()), found


def _tell(report: Report, kind: type[BaseEvent], number: int, whole: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Tell the report of every field that is wrong, by the name of its column."""
    tagged = {**whole, "type": kind.__struct_config__.tag}
    for path, message in diagnose_fields(tagged, EVENT_TYPES).problems:
        column = path.partition("[")[0]
        value = values.get(column, whole["attributes"].get(column.removeprefix("attributes.")))
        report.add(path, message, [(number, value)], 1)


def _holds_nul(spelt: str) -> bool:
    """Return whether fields hold U+0000; after a backslash, JSON's spelling of it may be harmless."""
    return "\\u0000" in spelt and holds_nul(spelt.encode())


def _spelt(fields: Mapping[str, Any]) -> str:
    """Return fields as text that is the same whether a file holds an id as a number or as text."""
    plain = {name: str(value) if name.endswith("_id") else value for name, value in fields.items()}
    return msgspec.json.encode(plain, order="deterministic").decode()
