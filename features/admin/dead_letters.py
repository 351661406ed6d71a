"""Looking at dead letters, and sending them again."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from features.contracts.errors import MarqueeError
from features.db.connection import Connection, database_errors
from features.db.queries import queries
from features.kafka import BACKFILL, EventProducer, wait_all

REPLAY_AT_ONCE: Final = 500
REPLAY_TIMEOUT_S: Final = 30.0


class NoSuchDeadLetterError(MarqueeError):
    """There is no dead letter with the id asked for."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters: each field narrows, None does not.

    Attributes
    ----------
    reason, topic
        Exactly these.
    since, until
        Landed in [since, until), aware.
    """

    reason: str | None = None
    topic: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter without its bytes; instants are aware UTC."""

    dead_letter_id: int
    topic: str
    partition: int
    offset: int
    reason: str
    message: str
    landed_at: datetime
    published_at: datetime | None
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True)
class FullLetter(Letter):
    """A dead letter with its bytes."""

    key: bytes | None
    raw: bytes
    backfill: bool


def find(connection: Connection, chosen: Filter, *, only_open: bool = False, at_most: int = 50) -> list[Letter]:
    """Return dead letters, newest first.

    Parameters
    ----------
    connection
        In no transaction.
    chosen
        Which ones.
    only_open
        Leave out those that were replayed.
    at_most
        How many.

    Raises
    ------
    UnavailableError
        If Postgres is away.
    """
    with database_errors("listing dead letters"), connection.transaction():
        rows = queries.list_dead_letters(connection, **asdict(chosen), only_open=only_open, at_most=at_most)
        return [Letter(*row) for row in rows]


def get(connection: Connection, dead_letter_id: int) -> FullLetter:
    """Return one dead letter with its bytes.

    Raises
    ------
    NoSuchDeadLetterError
        If there is none with that id.
    UnavailableError
        If Postgres is away.
    """
    with database_errors("reading a dead letter"), connection.transaction():
        row = queries.show_dead_letter(connection, dead_letter_id=dead_letter_id)
    if row is None:
        raise NoSuchDeadLetterError(f"no dead letter {dead_letter_id}; `dead-letters list` shows what there is")
    return FullLetter(*row)


def replay(
    connection: Connection,
    producer: EventProducer,
    ids: Sequence[int] | None,
    chosen: Filter,
    *,
    on_sent: Callable[[int], None] = lambda _: None,
) -> int:
    """Return how many open dead letters were sent to their own topic again, their bytes as they came.

    An event keeps its id, so however often it is replayed it lands once. A letter is marked after Kafka has it.

    Parameters
    ----------
    connection
        In no transaction.
    producer
        What sends.
    ids
        Only these; None for all that the filter leaves.
    chosen
        Which ones.
    on_sent
        Told how many more were sent, for a progress bar.

    Raises
    ------
    UnavailableError
        If Postgres or Kafka is away; what was sent before is marked.
    """
    total = 0
    while True:
        with database_errors("replaying dead letters"), connection.transaction():
            wanted = {"dead_letter_ids": None if ids is None else list(ids), "at_most": REPLAY_AT_ONCE}
            rows = list(queries.dead_letters_to_replay(connection, **wanted, **asdict(chosen)))
            sent = [
                producer.send_bytes(topic, key, raw, [BACKFILL] if backfill else [])
                for _, topic, key, raw, backfill in rows
            ]
            wait_all(sent, time.monotonic() + REPLAY_TIMEOUT_S)
            queries.mark_replayed(connection, dead_letter_ids=[row[0] for row in rows])
        if not rows:
            return total
        total += len(rows)
        on_sent(len(rows))


def count_open(connection: Connection, ids: Sequence[int] | None, chosen: Filter) -> int:
    """Return how many dead letters `replay` would send.

    Raises
    ------
    UnavailableError
        If Postgres is away.
    """
    with database_errors("counting dead letters"), connection.transaction():
        wanted = None if ids is None else list(ids)
        return int(queries.count_dead_letters_to_replay(connection, dead_letter_ids=wanted, **asdict(chosen)))
