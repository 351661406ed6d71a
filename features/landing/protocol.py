"""How a batch of messages becomes rows, exactly once in effect.

The order of the steps is the promise:

1. decode       messages become rows or dead letters; nothing is written yet
2. gate         begin a transaction, share the landing gate, take the landing time
3. fence        lock the partitions' offsets; stop if they are not where this process left them
4. write        stage the rows, keep those with a new event id, keep what is derived from them
5. dead letters keep what could not be decoded
6. offsets      move offsets and counters, only from where the fence saw them
7. commit       rows, dead letters, offsets and counters become true together, or not at all
8. publish      dead letters to their topics: at least once, from the table, so that a crash here loses none
9. copy         offsets to Kafka, for lag dashboards only; nothing is ever read from there

A crash before 7 leaves nothing, and the batch is read again; after 7 the offsets say that it is done. Postgres alone
decides, and nothing rests on Kafka's transactions.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kafka.consumer.fetcher import ConsumerRecord

from features.contracts.errors import MarqueeError
from features.db.connection import Connection, RefusedError, database_errors
from features.db.gate import enter_gate
from features.db.queries import queries
from features.landing.dead_letters import keep_dead_letters
from features.landing.rows import Decoded, Place, decode_records
from features.landing.write import Partition, find_refused, write_rows


class FenceError(MarqueeError):
    """The offsets in Postgres are not where this process left them: another one has landed these partitions."""


@dataclass(frozen=True, slots=True)
class Span:
    """What a batch holds of one partition: messages in offset order, from where landing stood to where it goes."""

    topic: str
    topic_id: str
    partition: int
    expected: int
    records: Sequence[ConsumerRecord]

    @property
    def next_offset(self) -> int:
        """Where landing goes on after this batch."""
        return int(self.records[-1].offset) + 1

    @property
    def skipped(self) -> int:
        """Offsets that hold no message: markers of Kafka's own, compacted or expired messages."""
        return self.next_offset - self.expected - len(self.records)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch: every offset that it passed is one of the four."""

    stored: int
    duplicate: int
    dead: int
    skipped: int

    def __add__(self, other: "Outcome") -> "Outcome":
        """Return the counts of two batches together."""
        return Outcome(
            self.stored + other.stored,
            self.duplicate + other.duplicate,
            self.dead + other.dead,
            self.skipped + other.skipped,
        )

    @property
    def messages(self) -> int:
        """How many messages were read."""
        return self.stored + self.duplicate + self.dead


def land(connection: Connection, cluster_id: str, spans: Sequence[Span], now: datetime) -> Outcome:
    """Return what became of a batch, after steps 1 to 7 for it; 8 and 9 are the caller's.

    Raises
    ------
    FenceError
        If another process moved these partitions; nothing is written.
    UnavailableError
        If Postgres went away; nothing is written, unless only the answer to the commit was lost: then landing the
        same batch again meets the fence.
    """
    records = [record for span in spans for record in span.records]
    refused: dict[Place, str] = {}
    while True:
        decoded = decode_records(records, now, refused)
        try:
            with database_errors("landing a batch"), connection.transaction():
                return _write(connection, cluster_id, spans, decoded)
        except RefusedError:
            found = find_refused(connection, decoded.rows)
            if not found:
                raise
            refused |= found


def _write(connection: Connection, cluster_id: str, spans: Sequence[Span], decoded: Decoded) -> Outcome:
    landed_at = enter_gate(connection)
    _fence(connection, cluster_id, spans)
    stored = write_rows(connection, decoded.rows, landed_at)
    topic_ids = {span.topic: span.topic_id for span in spans}
    keep_dead_letters(connection, cluster_id, topic_ids, decoded.dead, landed_at)
    dead = Counter((letter.place.topic, letter.place.partition) for letter in decoded.dead)
    outcomes = [_move(connection, cluster_id, span, stored, dead) for span in spans]
    return Outcome(*map(sum, zip(*outcomes, strict=True)))


def _fence(connection: Connection, cluster_id: str, spans: Sequence[Span]) -> None:
    locked = queries.lock_offsets(
        connection,
        cluster_id=cluster_id,
        topics=[span.topic for span in spans],
        topic_ids=[span.topic_id for span in spans],
        partitions=[span.partition for span in spans],
    )
    found = {(topic, partition): next_offset for topic, partition, next_offset in locked}
    for span in spans:
        if found.get((span.topic, span.partition)) != span.expected:
            raise FenceError(
                f"{span.topic}[{span.partition}] stands at {found.get((span.topic, span.partition))}, this process "
                f"left it at {span.expected}: another one landed it meanwhile. Nothing was written; read it again."
            )


def _move(
    connection: Connection, cluster_id: str, span: Span, stored: Counter[Partition], dead: Counter[Partition]
) -> tuple[int, int, int, int]:
    """Move one partition on and return what became of its messages, in the order of `Outcome`."""
    partition = (span.topic, span.partition)
    duplicate = len(span.records) - stored[partition] - dead[partition]
    moved = queries.move_offset(
        connection,
        cluster_id=cluster_id,
        topic=span.topic,
        topic_id=span.topic_id,
        partition=span.partition,
        expected=span.expected,
        next_offset=span.next_offset,
        stored=stored[partition],
        duplicate=duplicate,
        dead=dead[partition],
        skipped=span.skipped,
    )
    if moved != 1:
        raise FenceError(f"{span.topic}[{span.partition}] moved under its lock: nothing was written")
    return stored[partition], duplicate, dead[partition], span.skipped
