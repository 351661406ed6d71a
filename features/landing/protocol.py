"""How a batch of messages becomes rows, exactly once in effect.

The order of the steps is the promise:

1. decode       messages become rows or dead letters; nothing is written yet
2. gate         begin a transaction, share the landing gate, take the landing time
3. fence        lock the partitions' offsets; stop if they are not where this process left them
4. write        drop what belongs to erased users, store rows with a new event id, keep what is derived from them
5. dead letters keep what could not be decoded
6. offsets      move offsets and counters, only from where the fence saw them
7. commit       rows, dead letters, offsets and counters become true together, or not at all
8. publish      dead letters to their topics: at least once, from the table, so that a crash here loses none
9. copy         offsets to Kafka, for lag dashboards only; nothing is ever read from there

A crash before 7 leaves nothing, and the batch is read again; after 7 the offsets say that it is done. Postgres alone
decides, and nothing rests on Kafka's transactions.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import add

from kafka.consumer.fetcher import ConsumerRecord

from features.contracts.errors import MarqueeError
from features.db.connection import Connection, RefusedError, database_errors
from features.db.gate import enter_gate
from features.db.queries import queries
from features.failpoints import failpoint
from features.landing.dead_letters import keep_dead_letters
from features.landing.erased import Erased
from features.landing.rows import Decoded, Decoder, Partition, Place, bury_refused, decode_records
from features.landing.write import Writer, find_refused


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
class Batch:
    """Messages of some partitions, and what they were decoded to."""

    spans: Sequence[Span]
    decoded: Decoded


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch: every offset that it passed is one of the first four.

    `skipped` are offsets without a message and messages of erased users; `late` and `ahead` count odd times among all.
    """

    stored: int = 0
    duplicate: int = 0
    dead: int = 0
    skipped: int = 0
    late: int = 0
    ahead: int = 0

    def __add__(self, other: "Outcome") -> "Outcome":
        """Return the counts of two batches together."""
        return Outcome(*map(add, self.counts(), other.counts()))

    def counts(self) -> tuple[int, ...]:
        """Return all counts in the order of the fields."""
        return self.stored, self.duplicate, self.dead, self.skipped, self.late, self.ahead

    @property
    def messages(self) -> int:
        """How many messages were read and not skipped."""
        return self.stored + self.duplicate + self.dead


def decode(spans: Sequence[Span], now: datetime, decoders: Mapping[str, Decoder]) -> Batch:
    """Return messages as a batch, step 1; `decoders` as in `decode_records`."""
    batch = Batch(spans, decode_records([span.records for span in spans], now, decoders))
    failpoint("after_decode")
    return batch


class Lander:
    """Lands batches, steps 2 to 7; one for each session, since it remembers who was erased and what is usual.

    Parameters
    ----------
    erasure_secret
        The key of the digests by which erased users are known.
    """

    def __init__(self, erasure_secret: bytes) -> None:
        self._writer = Writer()
        self._erased = Erased(erasure_secret)

    def land(self, connection: Connection, cluster_id: str, batch: Batch) -> Outcome:
        """Return what became of a batch; steps 8 and 9 are the caller's.

        Raises
        ------
        FenceError
            If another process moved these partitions; nothing is written.
        UnavailableError
            If Postgres went away; nothing is written, unless only the answer to the commit was lost: then landing
            the same batch again meets the fence.
        """
        decoded = batch.decoded
        while True:
            try:
                with database_errors("landing a batch"), connection.transaction():
                    outcome = self._write(connection, cluster_id, batch.spans, decoded)
                failpoint("after_commit")
            except RefusedError:
                refused = find_refused(connection, decoded.rows)
                if not refused:
                    raise
                decoded = bury_refused(decoded, refused, _records(batch.spans, refused))
            else:
                return outcome

    def _write(self, connection: Connection, cluster_id: str, spans: Sequence[Span], decoded: Decoded) -> Outcome:
        landed_at = enter_gate(connection)
        failpoint("after_gate")
        _fence(connection, cluster_id, spans)
        failpoint("after_fence")
        self._erased.refresh(connection)
        decoded, dropped = self._erased.drop(decoded)
        stored = self._writer.write(connection, decoded.rows, landed_at)
        failpoint("after_write")
        topic_ids = {span.topic: span.topic_id for span in spans}
        letters = keep_dead_letters(connection, cluster_id, topic_ids, decoded.dead, landed_at)
        failpoint("after_dead_letters")
        dead = Counter((letter.place.topic, letter.place.partition) for letter in letters)
        outcome = Outcome()
        for span in spans:
            outcome += _move(connection, cluster_id, span, _outcome(span, decoded, stored, dead, dropped))
        failpoint("after_offsets")
        return outcome


def _records(spans: Sequence[Span], wanted: Mapping[Place, object]) -> dict[Place, ConsumerRecord]:
    placed = ((Place(span.topic, span.partition, one.offset), one) for span in spans for one in span.records)
    return {place: record for place, record in placed if place in wanted}


def _outcome(
    span: Span,
    decoded: Decoded,
    stored: Counter[Partition],
    dead: Counter[Partition],
    dropped: Counter[Partition],
) -> Outcome:
    """Return what became of one partition's messages: those of which nothing else is known were there already."""
    at = (span.topic, span.partition)
    duplicate = len(span.records) - stored[at] - dead[at] - dropped[at]
    return Outcome(stored[at], duplicate, dead[at], span.skipped + dropped[at], decoded.late[at], decoded.ahead[at])


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


def _move(connection: Connection, cluster_id: str, span: Span, outcome: Outcome) -> Outcome:
    """Move one partition on and return what became of its messages."""
    moved = queries.move_offset(
        connection,
        cluster_id=cluster_id,
        topic=span.topic,
        topic_id=span.topic_id,
        partition=span.partition,
        expected=span.expected,
        next_offset=span.next_offset,
        stored=outcome.stored,
        duplicate=outcome.duplicate,
        dead=outcome.dead,
        skipped=outcome.skipped,
        late=outcome.late,
        ahead=outcome.ahead,
    )
    if moved != 1:
        raise FenceError(f"{span.topic}[{span.partition}] moved under its lock: nothing was written")
    return outcome
