"""Kafka as an administrator sees it: topics and what they are, offsets, landing's group."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, MemberToRemove
from kafka.errors import TopicAlreadyExistsError

from features.kafka import (
    EVENT_TOPICS,
    LANDING_GROUP,
    MAX_MESSAGE_BYTES,
    PARTITIONS,
    PUBLISHED_TOPICS,
    TopicError,
    dead_letter_topic,
    kafka_errors,
    open_client,
)
from features.settings import Settings

LATEST: Final = -1
"""Kafka's way to ask for the end of a partition."""
EARLIEST: Final = -2
"""Kafka's way to ask for its beginning."""


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """What tells a topic from another of the same name: its id changes when it is made anew."""

    cluster_id: str
    topic_ids: Mapping[str, str]


class Admin:
    """Looks up and creates topics; a context manager, so that its connections close.

    Raises
    ------
    UnavailableError
        From every method, if the brokers cannot be reached.
    """

    def __init__(self, settings: Settings) -> None:
        with kafka_errors("connecting"):
            self._admin = open_client(KafkaAdminClient, settings, bootstrap_timeout_ms=5_000)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self.close()

    def close(self) -> None:
        """Disconnect."""
        self._admin.close()

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """Return the ids that topics have now; those that do not exist are left out."""
        return {topic["name"]: str(topic["topic_id"]) for topic in self._existing(topics)}

    def _existing(self, topics: Iterable[str]) -> list[dict[str, Any]]:
        with kafka_errors("looking up topics"):
            return [topic for topic in self._admin.describe_topics(list(topics)) if not topic["error_code"]]

    def create_topics(self, landed: Iterable[str] = EVENT_TOPICS, partitions: int = PARTITIONS) -> list[str]:
        """Create all topics that do not exist yet, those that are landed and those we publish; return their names.

        Dead letter topics have one partition: order across partitions is no one's wish there.
        """
        topics = list(landed)
        wanted = {topic: _new_topic(partitions) for topic in (*topics, *PUBLISHED_TOPICS)}
        wanted |= {
            dead_letter_topic(topic): _new_topic(1, **{"max.message.bytes": str(MAX_MESSAGE_BYTES)}) for topic in topics
        }
        with kafka_errors("creating topics"):
            there = set(self._admin.list_topics())
            missing = {name: new for name, new in wanted.items() if name not in there}
            created = [name for name, new in missing.items() if self._create(name, new)]
            self._admin.wait_for_topics(created)
        return created

    def _create(self, name: str, new: Mapping[str, object]) -> bool:
        try:
            self._admin.create_topics({name: new})
        except TopicAlreadyExistsError:
            return False
        return True

    def identify(self, topics: Iterable[str] = EVENT_TOPICS, *, missing_ok: bool = False) -> TopicIdentity:
        """Return the cluster's id and the ids of topics.

        Raises
        ------
        TopicError
            Naming a topic that does not exist, unless that is all right.
        """
        wanted = list(topics)
        with kafka_errors("looking up the cluster"):
            cluster_id = self._admin.describe_cluster()["cluster_id"]
        identity = TopicIdentity(cluster_id, self.topic_ids(wanted))
        if not missing_ok and (missing := sorted(set(wanted) - identity.topic_ids.keys())):
            raise TopicError(f"Kafka has no topic {', '.join(missing)}; `python -m features topics` creates them")
        return identity

    def end_offsets(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """Return the offset that the next message of each partition of some topics will get."""
        return self._offsets(topics, LATEST)

    def first_offsets(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """Return the offset of the oldest message that each partition of some topics still has, or will get."""
        return self._offsets(topics, EARLIEST)

    def _offsets(self, topics: Iterable[str], which: int) -> dict[tuple[str, int], int]:
        with kafka_errors("looking up offsets"):
            found = self._admin.list_partition_offsets(dict.fromkeys(self.partitions(topics), which))
        return {(at.topic, at.partition): offset.offset for at, offset in found.items()}

    def partitions(self, topics: Iterable[str]) -> frozenset[TopicPartition]:
        """Return the partitions of those topics that exist."""
        return frozenset(
            TopicPartition(topic["name"], partition["partition_index"])
            for topic in self._existing(topics)
            for partition in topic["partitions"]
        )

    def shared(self) -> frozenset[TopicPartition] | None:
        """Return the partitions that landing's group has shared out; None while it is doing so."""
        with kafka_errors("looking up the group"):
            group = self._admin.describe_groups([LANDING_GROUP])[LANDING_GROUP]
        if group["group_state"] != "Stable":
            return None
        return frozenset(
            TopicPartition(topic["topic"], partition)
            for member in group["members"]
            for topic in member["member_assignment"]["assigned_partitions"]
            for partition in topic["partitions"]
        )

    def leave_slot(self, slot: str) -> None:
        """Let landing's group forget a slot: who joins under it next is new, and all is shared out anew."""
        with kafka_errors("leaving the group"):
            self._admin.remove_group_members(LANDING_GROUP, [MemberToRemove(group_instance_id=slot)])

    def retentions_ms(self, topics: Iterable[str]) -> dict[str, int]:
        """Return how long each topic that exists keeps its messages, in milliseconds; -1 is for ever."""
        wanted = [ConfigResource(ConfigResourceType.TOPIC, topic, ["retention.ms"]) for topic in topics]
        with kafka_errors("looking up retention"):
            described = self._admin.describe_configs(wanted, config_filter="all")
        found = described.get("topic", {})
        return {topic: int(configs["retention.ms"]["value"]) for topic, configs in found.items() if configs}


def _new_topic(partitions: int, **configs: str) -> dict[str, object]:
    return {"num_partitions": partitions, "replication_factor": -1, "configs": configs}
