"""From messages to rows: each event as the tuple that its table takes, each failure as a dead letter."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
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
from features.contracts.plausible import EARLIEST, FUTURE_LIMIT, check_time

Row = tuple[Any, ...]
Rows = Mapping[type[BaseEvent], Sequence[Row]]
Partition = tuple[str, int]
"""A topic and a partition's number."""
Decoder = Callable[[bytes], Event]

AHEAD: Final = timedelta(minutes=5)
"""A clock that runs ahead by more is reported; less is common."""
LATE: Final = timedelta(hours=1)
"""An event that comes later than this after it occurred is counted as late."""
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
    """Messages as rows by kind of event, and as dead letters.

    `late` and `ahead` count, by partition, events that occurred long before they were read, history aside, and events
    that by their producer's clock have not occurred yet.
    """

    rows: Rows
    dead: list[DeadLetter] = field(default_factory=list)
    late: Counter[Partition] = field(default_factory=Counter)
    ahead: Counter[Partition] = field(default_factory=Counter)


def decode_records(
    partitions: Collection[Sequence[ConsumerRecord]], now: datetime, decoders: Mapping[str, Decoder]
) -> Decoded:
    """Return what messages become.

    Parameters
    ----------
    partitions
        The messages of each partition, as Kafka gave them.
    now
        Aware UTC: the future begins a day after it.
    decoders
        How to read topics that do not carry events of ours, by name.
    """
    rows: dict[type[BaseEvent], list[Row]] = {kind: [] for kind in ROWS}
    decoded = Decoded(rows)
    for records in partitions:
        if records:
            _decode_partition(records, now, decoders.get(records[0].topic, decode_event), rows, decoded)
    return decoded


def _decode_partition(
    records: Sequence[ConsumerRecord],
    now: datetime,
    decode: Decoder,
    rows: Mapping[type[BaseEvent], list[Row]],
    decoded: Decoded,
) -> None:
    topic, partition = records[0].topic, records[0].partition
    latest, ahead_of, before = now + FUTURE_LIMIT, now + AHEAD, now - LATE
    late = ahead = 0
    for record in records:
        try:
            event = decode(record.value or b"")
            occurred_at = event.occurred_at
            if not EARLIEST <= occurred_at <= latest:
                check_time(occurred_at, now)
        except EventError as error:
            decoded.dead.append(_dead_letter(record, error.code, error))
            continue
        known_at = None
        if record.headers and is_backfill(record.headers):
            known_at = occurred_at
        elif occurred_at < before:
            late += 1
        elif occurred_at > ahead_of:
            ahead += 1
        kind = type(event)
        rows[kind].append(ROWS[kind](event, known_at, topic, partition, record.offset))
    decoded.late[topic, partition] += late
    decoded.ahead[topic, partition] += ahead


def is_backfill(headers: Collection[tuple[str, bytes]]) -> bool:
    """Return whether a message's headers mark it as history."""
    return any(name == "backfill" and value == b"1" for name, value in headers)


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


def bury_refused(decoded: Decoded, refused: Mapping[Place, str], records: Mapping[Place, ConsumerRecord]) -> Decoded:
    """Return a batch in which messages that the database refused, with its words, are dead letters."""
    letters = [_dead_letter(records[place], "refused_by_database", words) for place, words in refused.items()]
    rows = {kind: [row for row in of_kind if place_of(row) not in refused] for kind, of_kind in decoded.rows.items()}
    return Decoded(rows, [*decoded.dead, *letters], decoded.late, decoded.ahead)


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
    Item: _item,
    User: _user,
    Interaction: _interaction,
    Impression: _impression,
    Feedback: _feedback,
}
"""How each kind of event becomes a row; its last three values are its place."""
