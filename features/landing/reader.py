"""Reading from Kafka where Postgres says: assignment of partitions, seeking, batches by size and time."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from features.contracts.errors import UnavailableError
from features.db.connection import Connection, database_errors
from features.db.queries import queries
from features.kafka import EVENT_TOPICS, TopicIdentity, kafka_errors
from features.landing.protocol import Span

log = structlog.get_logger()

IDLE_POLL_MS: Final = 200
"""How long a poll waits for the first message; a stop signal is seen this soon."""
JOIN_POLL_MS: Final = 1_000
"""The same while this process joins the group."""
JOIN_ANEW_S: Final = 30.0
"""Longer than a rebalance takes that waits for a killed member's session to end."""


class _Assignment(ConsumerRebalanceListener):  # type: ignore[misc]  # published without types
    """Notes that partitions came or went; runs on the client's own thread, so it does nothing else."""

    def __init__(self) -> None:
        self.changed = False
        self.joining_since: float | None = None

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Note that partitions went: every rebalance begins with it."""
        self.changed = True
        self.joining_since = time.monotonic()
        log.info("partitions revoked", partitions=len(list(revoked)))

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Note that partitions came: every rebalance ends with it."""
        self.changed = True
        self.joining_since = None
        log.info("partitions assigned", partitions=len(list(assigned)))


class Reader:
    """Messages of this process's partitions, each read from where Postgres stands.

    Parameters
    ----------
    consumer
        Not yet subscribed.
    identity
        Ids of cluster and topics, under which offsets are kept.
    batch_size, batch_s
        A batch ends at this many messages, or this long after its first one. A message that comes alone is not kept
        waiting: an empty look for more ends the batch, too.
    """

    def __init__(
        self, consumer: KafkaConsumer, identity: TopicIdentity, *, batch_size: int = 5_000, batch_s: float = 1.0
    ) -> None:
        self._consumer = consumer
        self._identity = identity
        self._batch_size = batch_size
        self._batch_s = batch_s
        self._assignment = _Assignment()
        self._placed = False
        self._next: dict[TopicPartition, int] = {}
        self._gaps: dict[TopicPartition, int] = {}
        self._subscribe()

    def _subscribe(self) -> None:
        self._assignment.joining_since = time.monotonic()
        self._consumer.subscribe(topics=list(EVENT_TOPICS), listener=self._assignment)
        # A member that leads the group before it knows the topics assigns nothing, and joins a second time.
        with kafka_errors("looking up topics"):
            self._consumer.topics()

    def read(self, connection: Callable[[], Connection]) -> list[Span]:
        """Return the next batch; empty if nothing came in a while.

        Raises
        ------
        UnavailableError
            If Kafka or, after a change of partitions, Postgres is away; calling again goes on.
        """
        collected: dict[TopicPartition, list[ConsumerRecord]] = {}
        size, started = 0, time.monotonic()
        wait_ms = IDLE_POLL_MS if self._assignment.joining_since is None else self._join_ms()
        while size < self._batch_size and time.monotonic() - started < self._batch_s:
            with kafka_errors("polling"):
                polled = self._consumer.poll(timeout_ms=wait_ms, max_records=self._batch_size - size)
            if self._assignment.changed or not self._placed:
                self.place(connection())
                return []
            if not polled:
                break
            for partition, records in polled.items():
                collected.setdefault(partition, []).extend(records)
                size += len(records)
            wait_ms = 0
        spans = (self._span(partition, records) for partition, records in sorted(collected.items()))
        return [span for span in spans if span is not None]

    def _join_ms(self) -> int:
        """Return how long to poll while joining the group; a group that was not joined for long is joined anew.

        kafka-python 3.0.12 loses an assignment that comes after the poll which asked for it if it asked because a
        topic had changed: polls longer than a join usually takes make that rare, joining anew mends it.
        """
        joining_since = self._assignment.joining_since
        if joining_since is not None and time.monotonic() - joining_since > JOIN_ANEW_S:
            log.warning("no assignment came, joining the group anew")
            self._consumer.unsubscribe()
            self._subscribe()
        return JOIN_POLL_MS

    def place(self, connection: Connection) -> None:
        """Seek every assigned partition to where Postgres stands, and begin those that it does not know.

        Raises
        ------
        UnavailableError
            If Kafka or Postgres is away; nothing is read until a later call succeeds.
        """
        self._placed = False
        self._assignment.changed = False
        with kafka_errors("looking up offsets"):
            partitions = list(self._consumer.assignment())
            first = self._consumer.beginning_offsets(partitions) if partitions else {}
            end = self._consumer.end_offsets(partitions) if partitions else {}
        with database_errors("reading offsets"), connection.transaction():
            self._next = {at: self._begin(connection, at, first[at]) for at in partitions}
        self._gaps.clear()
        for at, next_offset in self._next.items():
            if next_offset > end[at]:
                self._halt(at, f"Postgres stands at {next_offset}, past the end of the log at {end[at]}")
            self._consumer.seek(at, next_offset)
        self._placed = True

    def _begin(self, connection: Connection, at: TopicPartition, first_offset: int) -> int:
        key = {
            "cluster_id": self._identity.cluster_id,
            "topic": at.topic,
            "topic_id": self._identity.topic_ids[at.topic],
            "partition": at.partition,
        }
        queries.begin_partition(connection, **key, first_offset=first_offset)
        return int(queries.next_offset(connection, **key))

    def _span(self, at: TopicPartition, records: list[ConsumerRecord]) -> Span | None:
        """Return what of a partition's messages can be landed, if they begin where they should."""
        expected, first = self._next[at], records[0].offset
        if first < expected:
            self._halt(at, f"the log went back to {first} although {expected} was read before")
            return None
        if first > expected and self._gaps.get(at) != first:
            # Offsets without messages exist (Kafka's markers, compaction, retention), but a lost event would look
            # the same: they are believed when a second reading finds the same gap.
            self._gaps[at] = first
            self._consumer.seek(at, expected)
            return None
        return Span(at.topic, self._identity.topic_ids[at.topic], at.partition, expected, records)

    def _halt(self, at: TopicPartition, why: str) -> None:
        self._consumer.pause(at)
        log.error(
            "partition stopped, the others go on",
            topic=at.topic,
            partition=at.partition,
            reason=why,
            way_out="compare `python -m features reconcile` with the topic; was the log truncated or made anew?",
        )

    def landed(self, spans: Iterable[Span]) -> None:
        """Go on after a batch that was committed, and give Kafka a copy of the offsets."""
        for span in spans:
            self._next[TopicPartition(span.topic, span.partition)] = span.next_offset
        copy = {at: OffsetAndMetadata(offset, "", -1) for at, offset in self._next.items()}
        try:
            with kafka_errors("copying offsets"):
                self._consumer.commit_async(copy, callback=_copied)
        except UnavailableError as error:
            _copied(copy, error)

    def lag(self) -> int | None:
        """Return how many offsets lie ahead in all assigned partitions; None while none is assigned."""
        if not self._next:
            return None
        with kafka_errors("looking up end offsets"):
            end: Mapping[TopicPartition, int] = self._consumer.end_offsets(list(self._next))
        return sum(end[at] - offset for at, offset in self._next.items())

    def close(self) -> None:
        """Leave the group, so that others take over at once."""
        try:
            with kafka_errors("leaving the group"):
                self._consumer.close(autocommit=False, timeout_ms=3_000)
        except UnavailableError as error:
            log.warning("left without a word, others take over when the session ends", reason=str(error))


def _copied(_: object, response: object) -> None:
    if isinstance(response, Exception):
        log.debug("Kafka did not take its copy of the offsets", error=repr(response))
