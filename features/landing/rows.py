"""From messages to rows: each event as the tuple that its staging table takes, each failure as a dead letter."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from kafka.consumer.fetcher import ConsumerRecord

from features.contracts.event_problems import EventError, Reason
from features.contracts.events import (
    BaseEvent,
    Event,
    Feedback,
    Impression,
    Interaction,
    Item,
    User,
    decode_event,
)

Row = tuple[Any, ...]

FUTURE_LIMIT: Final = timedelta(days=1)
"""How far ahead of our clock an event may be: a wrong time zone is at most 14 hours."""
MESSAGE_LIMIT: Final = 2_000
"""Characters of a dead letter's message; a list of a thousand bad items need not name them all."""


class Place(NamedTuple):
    """Where a message stands; unique in one topic's life."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that cannot be landed, with the reason and everything needed to send it again."""

    place: Place
    reason: Reason
    message: str
    key: bytes | None
    raw: bytes
    backfill: bool


@dataclass(slots=True)
class Decoded:
    """A batch of messages as rows by kind of event, and as dead letters."""

    rows: dict[type[BaseEvent], list[Row]] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)


def decode_records(
    records: Iterable[ConsumerRecord], now: datetime, refused: Mapping[Place, str] | None = None
) -> Decoded:
    """Return what a batch of messages becomes.

    Parameters
    ----------
    records
        As Kafka gave them.
    now
        Landing time, aware UTC: the future begins a day after it.
    refused
        Messages that the database refused, with its words: they become dead letters.
    """
    decoded = Decoded({kind: [] for kind in ROWS})
    rows = decoded.rows
    latest = now + FUTURE_LIMIT
    for record in records:
        try:
            event = decode_event(record.value or b"")
            if event.occurred_at > latest:
                raise _far_future(event, now)
        except EventError as error:
            decoded.dead.append(_dead_letter(record, error.code, error))
            continue
        known_at = event.occurred_at if record.headers and is_backfill(record.headers) else None
        kind = type(event)
        rows[kind].append(ROWS[kind](event, known_at, record.topic, record.partition, record.offset))
    if refused:
        _bury_refused(decoded, refused, records)
    return decoded


def is_backfill(headers: Collection[tuple[str, bytes]]) -> bool:
    """Return whether a message's headers mark it as history."""
    return any(name == "backfill" and value == b"1" for name, value in headers)


def _far_future(event: Event, now: datetime) -> EventError:
    message = f"{event.occurred_at.isoformat()} lies more than a day after {now.isoformat()}, when it landed"
    return EventError("far_future", [("occurred_at", message)])


def _dead_letter(record: ConsumerRecord, reason: Reason, cause: object) -> DeadLetter:
    return DeadLetter(
        place=Place(record.topic, record.partition, record.offset),
        reason=reason,
        # Paths hold keys of the message itself, and Postgres' text cannot hold U+0000.
        message=str(cause).replace("\0", "\N{SYMBOL FOR NULL}")[:MESSAGE_LIMIT],
        key=record.key,
        raw=record.value or b"",
        backfill=is_backfill(record.headers or ()),
    )


def _bury_refused(decoded: Decoded, refused: Mapping[Place, str], records: Iterable[ConsumerRecord]) -> None:
    """Move the rows of refused messages to the dead letters."""
    for kind, rows in decoded.rows.items():
        decoded.rows[kind] = [row for row in rows if place_of(row) not in refused]
    for record in records:
        if (place := Place(record.topic, record.partition, record.offset)) in refused:
            decoded.dead.append(_dead_letter(record, "refused_by_database", refused[place]))


def place_of(row: Row) -> Place:
    """Return where the message of a row stands: every kind of row ends with it."""
    return Place(*row[-3:])


def _interaction(e: Interaction, known_at: datetime | None, topic: str, partition: int, offset: int) -> Row:
    return (
        e.event_id,
        e.user_id,
        e.item_id,
        e.action,
        e.value,
        e.occurred_at,
        known_at,
        e.schema_version,
        e.recommendation_id,
        e.context,
        topic,
        partition,
        offset,
    )


def _impression(e: Impression, known_at: datetime | None, topic: str, partition: int, offset: int) -> Row:
    return (
        e.event_id,
        e.user_id,
        e.recommendation_id,
        e.model_version,
        e.experiment_id,
        e.variant,
        e.policy,
        [shown.item_id for shown in e.items],
        [shown.position for shown in e.items],
        [shown.source for shown in e.items],
        [shown.score for shown in e.items],
        [shown.propensity for shown in e.items],
        e.occurred_at,
        known_at,
        e.schema_version,
        e.context,
        topic,
        partition,
        offset,
    )


def _item(e: Item, known_at: datetime | None, topic: str, partition: int, offset: int) -> Row:
    return (
        e.event_id,
        e.item_id,
        e.partial,
        e.said(),
        e.occurred_at,
        known_at,
        e.schema_version,
        topic,
        partition,
        offset,
    )


def _user(e: User, known_at: datetime | None, topic: str, partition: int, offset: int) -> Row:
    return (
        e.event_id,
        e.user_id,
        e.partial,
        e.attributes,
        e.occurred_at,
        known_at,
        e.schema_version,
        topic,
        partition,
        offset,
    )


def _feedback(e: Feedback, known_at: datetime | None, topic: str, partition: int, offset: int) -> Row:
    return (
        e.event_id,
        e.recommendation_id,
        e.user_id,
        e.item_id,
        e.outcome,
        e.occurred_at,
        known_at,
        e.schema_version,
        topic,
        partition,
        offset,
    )


ROWS: Final[dict[type[BaseEvent], Callable[..., Row]]] = {
    Interaction: _interaction,
    Impression: _impression,
    Item: _item,
    User: _user,
    Feedback: _feedback,
}
"""How each kind of event becomes the row of its staging table."""
