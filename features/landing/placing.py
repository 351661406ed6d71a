"""Where each partition is read on: what Postgres says, held against what the broker has."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import structlog
from kafka import TopicPartition

from features.contracts.errors import MarqueeError
from features.db.connection import Connection, database_errors
from features.db.queries import queries
from features.kafka_admin import TopicIdentity

log = structlog.get_logger()


class HaltedError(MarqueeError):
    """Partitions are not read on until someone decides: their topic is not what was landed before."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The first offset that can be read of each partition, and the one that its next message will get."""

    first: Mapping[TopicPartition, int]
    end: Mapping[TopicPartition, int]


@dataclass(slots=True)
class Placement:
    """Where partitions go on, and why some cannot."""

    next: dict[TopicPartition, int] = field(default_factory=dict)
    halted: dict[TopicPartition, str] = field(default_factory=dict)


def place(
    connection: Connection, identity: TopicIdentity, partitions: Collection[TopicPartition], ends: Ends
) -> Placement:
    """Return where to go on in each partition; one that was never landed begins at its first readable offset.

    A partition that stands past the end of its log, or whose topic was made anew, is halted: reading on would be a
    guess. `python -m features offsets accept` says what to do, and this is asked again.
    """
    placement = Placement()
    with database_errors("reading offsets"), connection.transaction():
        for at in partitions:
            _place(connection, identity, at, ends, placement)
    return placement


def _place(
    connection: Connection, identity: TopicIdentity, at: TopicPartition, ends: Ends, placement: Placement
) -> None:
    topic_id = identity.topic_ids[at.topic]
    lives = {
        (cluster, life): next_offset
        for cluster, life, next_offset, _ in queries.lives(connection, topic=at.topic, partition=at.partition)
    }
    next_offset = lives.get((identity.cluster_id, topic_id))
    if next_offset is None and lives:
        stood = ", ".join(f"{life} in cluster {cluster} up to {offset}" for (cluster, life), offset in lives.items())
        placement.halted[at] = (
            f"the topic was made anew, as {topic_id} in cluster {identity.cluster_id}; landed: {stood}"
        )
        return
    if next_offset is None:
        next_offset = _begin(connection, identity, at, ends.first[at])
    if next_offset > ends.end[at]:
        placement.halted[at] = f"Postgres stands at {next_offset}, past the end of the log at {ends.end[at]}"
        return
    if next_offset < ends.first[at]:
        log.error(
            "Kafka deleted messages before they were landed; they will be counted as skipped",
            topic=at.topic,
            partition=at.partition,
            lost=ends.first[at] - next_offset,
        )
    placement.next[at] = next_offset


def _begin(connection: Connection, identity: TopicIdentity, at: TopicPartition, first_offset: int) -> int:
    key = {
        "cluster_id": identity.cluster_id,
        "topic": at.topic,
        "topic_id": identity.topic_ids[at.topic],
        "partition": at.partition,
    }
    queries.begin_partition(connection, **key, first_offset=first_offset)
    return int(queries.next_offset(connection, **key))
