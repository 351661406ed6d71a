"""Batches of messages that the client cannot read: told apart from a broker that is away, and left behind by no loop.

kafka-python 3.0.12 keeps a batch whose codec it lacks, or whose bytes are broken: the next poll asks it for messages
for ever, since it gives none and does not end.
"""

from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord, Fetcher

from features.contracts.errors import MarqueeError


class UnreadableError(MarqueeError):
    """A partition's next batch cannot be read: to poll again would not help, to go on behind it would lose events."""

    def __init__(self, at: TopicPartition, offset: int, cause: Exception) -> None:
        self.at = at
        super().__init__(f"the batch at offset {offset} cannot be read: {type(cause).__name__}: {cause}")


class _Records(Fetcher.PartitionRecords):  # type: ignore[misc]  # published without types
    """What was fetched of a partition; it ends where it cannot be read, so that a later fetch begins there anew."""

    def take(self, n: int | None = None) -> list[ConsumerRecord]:
        """Return some messages, as the client asks for them."""
        try:
            taken: list[ConsumerRecord] = super().take(n)
        except Exception as error:  # the client and its codecs meet foreign bytes here, and raise whatever they do
            self.drain()
            raise UnreadableError(
                self.topic_partition, max(self.fetch_offset, self.next_fetch_offset), error
            ) from error
        return taken


def tell_unreadable(consumer: KafkaConsumer) -> None:
    """Let a consumer raise `UnreadableError` from polls that meet such a batch; others are given by the next polls."""
    fetcher: Any = consumer._fetcher  # noqa: SLF001
    fetcher.PartitionRecords = _Records
