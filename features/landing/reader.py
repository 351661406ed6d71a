"""Reading from Kafka where Postgres says: partitions assigned, placed, collected, and stopped where they are odd."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.structs import MemberState

from features.contracts.errors import UnavailableError
from features.db.connection import Connection
from features.kafka import kafka_errors
from features.kafka_admin import Admin
from features.kafka_batches import UnreadableError
from features.landing.placing import Ends, Placement, place
from features.landing.protocol import Span

log = structlog.get_logger()

IDLE_POLL_MS: Final = 100
"""How long a poll waits for the first message; a stop signal is seen this soon."""
JOIN_POLL_MS: Final = 1_000
"""The same while this process joins the group."""
JOIN_ANEW_S: Final = 30.0
"""Longer than a rebalance takes that waits for a killed member's session to end."""
HALTED_AGAIN_S: Final = 5.0
"""Seconds between two looks at whether a halted partition may go on."""
LOOK_AGAIN_S: Final = 3.0
"""Seconds between two looks at whether topics that bring no messages are still the same."""
COPY_AGAIN_S: Final = 3.0
"""Seconds without a batch after which offsets are copied again: the answer tells whether another took our slot."""
BATCH_BYTES: Final = 33_554_432
"""A batch ends at this many bytes, too: events may be a thousand times larger than usual."""
ACCEPT: Final = "python -m features offsets accept {topic} --partition {partition}"
MAKE_READABLE: Final = (
    "start landing again once it can read the batch (a codec may have to be installed), or let Kafka delete what lies "
    "before the next one (kafka-delete-records.sh): that counts as skipped, and landing goes on by itself"
)


class _Assignment(ConsumerRebalanceListener):  # type: ignore[misc]  # published without types
    """Notes that partitions came or went; runs on the client's own thread, so it does nothing else."""

    def __init__(self) -> None:
        self.changed = False
        self.joining_since: float | None = None

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Note that partitions went: a rebalance has begun."""
        self.changed = True
        self.joining_since = time.monotonic()
        log.info("partitions revoked", partitions=len(list(revoked)))

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Note that partitions came; a rebalance that brings none ends without a word."""
        self.changed = True
        self.joining_since = None
        log.info("partitions assigned", partitions=len(list(assigned)))


class Reader:
    """Messages of this process's partitions, each read from where Postgres stands; for one thread.

    Parameters
    ----------
    consumer
        Not yet subscribed.
    admin
        Looks up topics: which life of a topic messages belong to is asked after they were read.
    topics
        What to read.
    batch_size
        Messages at which no more are collected.
    slot
        The consumer's, if it has one.
    """

    def __init__(
        self, consumer: KafkaConsumer, admin: Admin, topics: Sequence[str], *, batch_size: int, slot: str | None = None
    ) -> None:
        self._consumer = consumer
        self._admin = admin
        self._topics = topics
        self._batch_size = batch_size
        self._slot = slot
        self._assignment = _Assignment()
        self._identity = admin.identify(topics)
        self._collected: dict[TopicPartition, list[ConsumerRecord]] = {}
        self._size = self._bytes = 0
        self._next: dict[TopicPartition, int] = {}
        self._gaps: dict[TopicPartition, int] = {}
        self._landed: dict[TopicPartition, int] = {}
        self._halted: dict[TopicPartition, str] = {}
        self._unreadable: dict[TopicPartition, int] = {}
        self._ill_shared: frozenset[TopicPartition] = frozenset()
        self._looked_at_halted_s = self._looked_at_topics_s = self._copied_s = 0.0
        self._subscribe()

    def _subscribe(self) -> None:
        self._assignment.joining_since = time.monotonic()
        self._assignment.changed = True
        self._consumer.subscribe(topics=list(self._topics), listener=self._assignment)
        # A member that leads the group before it knows the topics assigns nothing, and joins a second time.
        with kafka_errors("looking up topics"):
            self._consumer.topics()

    @property
    def cluster_id(self) -> str:
        """Return the id of the cluster that is read."""
        return self._identity.cluster_id

    @property
    def halted(self) -> Mapping[TopicPartition, str]:
        """Return the partitions that are not read on, and why."""
        return self._halted

    @property
    def displaced(self) -> bool:
        """Return whether partitions must be placed before anything is read on."""
        halted = bool(self._halted) and time.monotonic() - self._looked_at_halted_s > HALTED_AGAIN_S
        return self._assignment.changed or halted

    @property
    def full(self) -> bool:
        """Return whether nothing more should be collected."""
        return self._size >= self._batch_size or self._bytes >= BATCH_BYTES

    def collect(self, *, wait: bool) -> bool:
        """Return whether messages wait to be taken, after collecting those that Kafka has now.

        Parameters
        ----------
        wait
            Whether to wait a moment for the first one.

        Raises
        ------
        UnavailableError
            If Kafka is away; calling again goes on.
        SlotTakenError
            If another process has our slot.
        """
        if time.monotonic() - self._copied_s > COPY_AGAIN_S:
            self.copy_offsets(())
        # What went away cannot be stopped; placing partitions looks at topics, too.
        if not self._assignment.changed and time.monotonic() - self._looked_at_topics_s > LOOK_AGAIN_S:
            self._look_at_topics()
        wait_ms = self._poll_ms() if wait else 0
        polled = self._poll(timeout_ms=wait_ms, max_records=max(1, self._batch_size - self._size))
        if self._assignment.changed:
            return False
        for at, records in polled.items():
            if at in self._next and at not in self._halted:
                self._collected.setdefault(at, []).extend(records)
                self._size += len(records)
                self._bytes += sum(len(record.value or b"") for record in records)
        return bool(self._collected)

    def _poll(self, **options: int) -> Mapping[TopicPartition, list[ConsumerRecord]]:
        """Return what a poll gives; a partition that cannot be read stops behind what was collected of it."""
        try:
            with kafka_errors("polling"):
                polled: Mapping[TopicPartition, list[ConsumerRecord]] = self._consumer.poll(**options)
        except UnreadableError as error:
            stands = self._next.get(error.at)
            self._halt(error.at, str(error), MAKE_READABLE)
            if stands is not None:
                collected = self._collected.get(error.at)
                self._next[error.at] = stands
                self._unreadable[error.at] = collected[-1].offset + 1 if collected else stands
            return {}
        return polled

    def _look_at_topics(self) -> None:
        """Stop partitions whose topic was made anew: where both lives end at one offset, no message would tell."""
        topic_ids = self._admin.topic_ids({at.topic for at in self._next})
        self._looked_at_topics_s = time.monotonic()
        for at in [at for at in self._next if topic_ids.get(at.topic) != self._identity.topic_ids[at.topic]]:
            self._halt(at, f"the topic was made anew: its id is now {topic_ids.get(at.topic)}")
        self._mend_sharing()

    def _find_ill_shared(self, existing: frozenset[TopicPartition]) -> frozenset[TopicPartition]:
        """Return existing partitions that no member of the group has, and those that one has but do not exist.

        A slot is given back what it had, unasked, and the group's leader notes changes only if it was there before: of
        members that all came back, none looks whether topics were made anew or got more partitions. And a leader that
        came before the brokers knew all of a new topic shares out a part of it.
        """
        shared = self._admin.shared()
        return frozenset() if shared is None else shared ^ existing

    def _mend_sharing(self) -> None:
        """Have the group share out partitions anew if it is found ill shared twice: once may be between two joins."""
        known, self._ill_shared = self._ill_shared, self._find_ill_shared(self._admin.partitions(self._topics))
        if not known & self._ill_shared:
            return
        log.warning("the group was shared out for other partitions, joining it anew", partitions=len(self._ill_shared))
        if self._slot is not None:
            self._admin.leave_slot(self._slot)  # first: if Kafka is away, this is tried again while all else stands
        self._consumer.unsubscribe()
        self._subscribe()

    def _poll_ms(self) -> int:
        """Return how long to poll for the first message; a group that was not joined for long is joined anew.

        kafka-python 3.0.12 loses an assignment that comes after the poll which asked for it if it asked because a
        topic had changed: polls longer than a join usually takes make that rare, joining anew mends it.
        """
        is_member = self._consumer.group_metadata().state is MemberState.STABLE
        joining_since = self._assignment.joining_since
        if joining_since is None:
            if is_member:
                return IDLE_POLL_MS
            joining_since = self._assignment.joining_since = time.monotonic()
        if time.monotonic() - joining_since > JOIN_ANEW_S:
            if is_member and self._consumer.assignment():
                # It has joined, and kept what it has: of a rebalance that brings nothing the listener is not told.
                self._assignment.joining_since = None
                return IDLE_POLL_MS
            log.warning("no assignment came, joining the group anew")
            self._consumer.unsubscribe()
            self._subscribe()
        return JOIN_POLL_MS

    def keep_membership(self) -> None:
        """Tell the group that this process is alive, without reading on."""
        self._consumer.pause(*self._consumer.assignment())
        self._poll(timeout_ms=0)
        # Asked again: a rebalance that ended in this poll may have taken some away.
        self._consumer.resume(*(self._consumer.assignment() - self._halted.keys()))

    def take(self) -> list[Span]:
        """Return what was collected, as far as it can be landed; collecting begins anew.

        Raises
        ------
        UnavailableError
            If Kafka is away; what was collected stays to be taken.
        """
        # Asked after reading: a topic whose id is the same now was the same then.
        topic_ids = self._admin.topic_ids({at.topic for at in self._collected})
        collected, self._collected, self._size, self._bytes = self._collected, {}, 0, 0
        spans = []
        for at, records in sorted(collected.items()):
            if topic_ids.get(at.topic) != self._identity.topic_ids[at.topic]:
                self._halt(at, f"the topic was made anew: its id is now {topic_ids.get(at.topic)}")
            elif span := self._span(at, records):
                spans.append(span)
                self._next[at] = span.next_offset
        return spans

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

    def place(self, connection: Connection) -> None:
        """Seek every assigned partition to where Postgres stands, and forget what was collected.

        Raises
        ------
        UnavailableError
            If Kafka or Postgres is away; nothing is read until a later call succeeds.
        """
        self._assignment.changed = False
        try:
            self._place(connection)
        except UnavailableError:
            self._assignment.changed = True
            raise

    def _place(self, connection: Connection) -> None:
        self._collected, self._size, self._bytes = {}, 0, 0
        self._identity = self._admin.identify(self._topics, missing_ok=True)
        assigned = sorted(self._consumer.assignment())
        existing = self._admin.partitions(self._topics)
        partitions = [at for at in assigned if at in existing and at.topic in self._identity.topic_ids]
        with kafka_errors("looking up offsets"):
            first = self._consumer.beginning_offsets(partitions) if partitions else {}
            end = self._consumer.end_offsets(partitions) if partitions else {}
        placement = place(connection, self._identity, partitions, Ends(first, end))
        placement.halted |= dict.fromkeys(set(assigned) - set(partitions), "it does not exist any more")
        self._keep_unreadable(placement, first)
        self._ill_shared = self._find_ill_shared(existing)
        self._next = placement.next
        self._landed = dict(placement.next)
        self._gaps.clear()
        for at, next_offset in placement.next.items():
            self._consumer.seek(at, next_offset)
        self._consumer.resume(*placement.next)
        mended = self._halted.keys() - placement.halted.keys()
        self._halted = {at: why for at, why in self._halted.items() if at in placement.halted}
        for at, why in placement.halted.items():
            self._halt(at, why)
        if mended:
            log.info("partitions go on", partitions=[f"{at.topic}[{at.partition}]" for at in sorted(mended)])
        self._looked_at_halted_s = time.monotonic()

    def _keep_unreadable(self, placement: Placement, first: Mapping[TopicPartition, int]) -> None:
        """Leave partitions stopped that still stand before a batch which cannot be read, unless Kafka deleted it."""
        stands = self._unreadable.items()
        self._unreadable = {at: offset for at, offset in stands if placement.next.get(at) == offset >= first[at]}
        for at in self._unreadable:
            del placement.next[at]
            placement.halted[at] = self._halted[at]

    def _halt(self, at: TopicPartition, why: str, way_out: str = ACCEPT) -> None:
        self._consumer.pause(at)
        if self._halted.get(at) != why:
            log.error(
                "partition stopped, the others go on",
                topic=at.topic,
                partition=at.partition,
                reason=why,
                way_out=way_out.format(topic=at.topic, partition=at.partition),
            )
        self._halted[at] = why
        self._next.pop(at, None)
        self._looked_at_halted_s = time.monotonic()

    def copy_offsets(self, landed: Iterable[Span]) -> None:
        """Give Kafka a copy of the offsets after a batch was committed; whether it takes it does not matter."""
        self._copied_s = time.monotonic()
        for span in landed:
            at = TopicPartition(span.topic, span.partition)
            self._landed[at] = max(span.next_offset, self._landed.get(at, 0))
        copy = {at: OffsetAndMetadata(offset, "", -1) for at, offset in self._landed.items() if at in self._next}
        if not copy:
            return
        try:
            with kafka_errors("copying offsets"):
                self._consumer.commit_async(copy, callback=_copied)
        except UnavailableError as error:
            _copied(copy, error)

    def lag(self) -> int | None:
        """Return how many offsets lie ahead of what was read in all assigned partitions.

        None while none is, and while the group may have to share out its partitions anew.
        """
        if self._ill_shared:
            return None
        reading = [at for at in self._next if at not in self._halted]
        if not reading:
            return 0 if self._halted else None
        with kafka_errors("looking up end offsets"):
            end: Mapping[TopicPartition, int] = self._consumer.end_offsets(reading)
        return sum(end[at] - self._passed(at) for at in reading)

    def _passed(self, at: TopicPartition) -> int:
        """Return up to where a partition was read: a log may end in offsets without messages, which nobody will land.

        Transactions end in markers. They count as skipped once a message follows.
        """
        if at in self._collected or at not in self._consumer.assignment():
            return self._next[at]
        return max(self._next[at], self._consumer.position(at) or 0)

    def close(self) -> None:
        """Leave the group, so that others take over at once."""
        leave(self._consumer)
        self._admin.close()


def leave(consumer: KafkaConsumer) -> None:
    """Close a consumer, which leaves its group if it is in one."""
    try:
        with kafka_errors("leaving the group"):
            consumer.close(autocommit=False, timeout_ms=3_000)
    except UnavailableError as error:
        log.warning("left without a word, others take over when the session ends", reason=str(error))


def _copied(_: object, response: object) -> None:
    if isinstance(response, Exception):
        log.debug("Kafka did not take its copy of the offsets", error=repr(response))
