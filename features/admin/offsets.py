"""Where landing stands in each partition, and deciding where it goes on in one that it stopped."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from features.contracts.errors import MarqueeError
from features.db.connection import Connection, database_errors
from features.db.gate import GATE
from features.db.queries import queries
from features.kafka_admin import Admin, TopicIdentity

Key = tuple[str, int]
State = Literal["landed", "never landed", "made anew", "past the end"]
BEGINNING: Final = "beginning"
END: Final = "end"


class OffsetsError(MarqueeError):
    """An offset cannot be accepted as asked."""


@dataclass(frozen=True, slots=True)
class Stand:
    """Where landing stands in one partition.

    Attributes
    ----------
    state
        `landed`: it goes on by itself; `never landed`: it will begin at `first`; the others are stopped.
    next_offset
        Where it goes on; None if this life of the topic was never landed.
    first, end
        The first offset that can be read, and the one that the next message will get.
    moved_at
        When it last moved on, aware UTC.
    """

    topic: str
    partition: int
    state: State
    next_offset: int | None
    first: int
    end: int
    moved_at: datetime | None

    @property
    def stopped(self) -> bool:
        """Return whether landing waits for a decision."""
        return self.state in {"made anew", "past the end"}


def stands(connection: Connection, admin: Admin, topics: Collection[str]) -> list[Stand]:
    """Return where landing stands in every partition of some topics, by topic and partition.

    Raises
    ------
    UnavailableError
        If Postgres or Kafka is away.
    """
    identity, first, end = admin.identify(topics), admin.first_offsets(topics), admin.end_offsets(topics)
    return [_stand(connection, identity, key, first[key], end[key]) for key in sorted(end)]


def _stand(connection: Connection, identity: TopicIdentity, key: Key, first: int, end: int) -> Stand:
    topic, partition = key
    with database_errors("reading offsets"), connection.transaction():
        lives: Mapping[tuple[str, str], tuple[int, datetime]] = {
            (cluster, life): (next_offset, moved_at)
            for cluster, life, next_offset, moved_at in queries.lives(connection, topic=topic, partition=partition)
        }
    next_offset, moved_at = lives.get((identity.cluster_id, identity.topic_ids[topic]), (None, None))
    state: State = "landed"
    if next_offset is None:
        state = "made anew" if lives else "never landed"
    elif next_offset > end:
        state = "past the end"
    return Stand(topic, partition, state, next_offset, first, end, moved_at)


def accept(connection: Connection, admin: Admin, topic: str, partitions: Collection[int], start: str) -> list[Stand]:
    """Return the stopped partitions of a topic that now go on; landing notices within seconds.

    Parameters
    ----------
    connection, admin
        Postgres and Kafka.
    topic
        Its name.
    partitions
        Which of its stopped partitions; none named = all of them.
    start
        `beginning`, `end`, or an offset. Reading again is harmless: events that landed before are duplicates.

    Raises
    ------
    OffsetsError
        If a partition named is not stopped, none is, or the offset lies outside the log.
    """
    stopped = {stand.partition: stand for stand in stands(connection, admin, [topic]) if stand.stopped}
    if wrong := sorted(set(partitions) - stopped.keys()):
        raise OffsetsError(f"{topic}: partitions {wrong} are not stopped; those that are: {sorted(stopped) or 'none'}")
    if not stopped:
        raise OffsetsError(f"{topic}: no partition is stopped, nothing was changed")
    identity = admin.identify([topic])
    chosen = [stopped[partition] for partition in sorted(partitions or stopped)]
    with database_errors("accepting offsets"), connection.transaction():
        queries.close_gate(connection, gate=GATE)
        for stand in chosen:
            _accept(connection, identity, stand, _offset(stand, start))
    return chosen


def _offset(stand: Stand, start: str) -> int:
    if start in {BEGINNING, END}:
        return stand.first if start == BEGINNING else stand.end
    if not start.isdigit() or not stand.first <= int(start) <= stand.end:
        raise OffsetsError(
            f"{stand.topic}[{stand.partition}]: {start!r} is no place to start; expected beginning, end, or an offset "
            f"from {stand.first} to {stand.end}"
        )
    return int(start)


def _accept(connection: Connection, identity: TopicIdentity, stand: Stand, offset: int) -> None:
    key = {
        "cluster_id": identity.cluster_id,
        "topic": stand.topic,
        "topic_id": identity.topic_ids[stand.topic],
        "partition": stand.partition,
    }
    if stand.next_offset is None:
        queries.begin_partition(connection, **key, first_offset=offset)
    else:
        queries.put_offset(connection, **key, next_offset=offset)
