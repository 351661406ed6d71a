"""Hands many messages to a connected producer at once, for a tenth of what `KafkaProducer.send` costs a message.

It fills kafka-python's own batches, under its own locks; what sends them, with idempotence, order and retries, is that
library's code as it is. It leans on inner parts of the pinned version: tests read back what it wrote.
"""

import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

from kafka import KafkaProducer, TopicPartition
from kafka.errors import IllegalStateError
from kafka.producer.producer_batch import ProducerBatch
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.record.util import encode_varint

MAGIC: Final = 2
"""The form of records since Kafka 0.11."""
_MASK: Final = 0xFFFFFFFF
_MURMUR_SEED: Final = 0x9747B28C
_MURMUR_FACTOR: Final = 0x5BD1E995
_ATTRIBUTES: Final = b"\x00"
_NO_HEADERS: Final = b"\x00"


class Message(NamedTuple):
    """One message on its way to a topic; what must stay in order shares a key."""

    topic: str
    key: bytes
    value: bytes


Done = Callable[[Sequence[int], BaseException | None], None]
"""Told, in the producer's thread, the places of messages that all replicas have, or whose sending failed."""


def varint(value: int) -> bytes:
    """Return a number as Kafka's records spell it: zigzag, seven bits a byte."""
    spelt = bytearray()
    encode_varint(value, spelt.append)
    return bytes(spelt)


_VARINTS: Final = tuple(map(varint, range(2048)))


def _varint(value: int) -> bytes:
    return _VARINTS[value] if 0 <= value < len(_VARINTS) else varint(value)


@lru_cache(maxsize=65_536)
def murmur2(key: bytes) -> int:
    """Return the hash by which every Kafka client finds a key's partition, without its sign bit."""
    whole, rest = len(key) & ~3, len(key) & 3
    mixed = (_MURMUR_SEED ^ len(key)) & _MASK
    for word in struct.unpack_from(f"<{whole >> 2}I", key):
        part = word * _MURMUR_FACTOR & _MASK
        part = (part ^ part >> 24) * _MURMUR_FACTOR & _MASK
        mixed = mixed * _MURMUR_FACTOR & _MASK ^ part
    if rest:
        mixed = (mixed ^ int.from_bytes(key[whole:], "little")) * _MURMUR_FACTOR & _MASK
    mixed = (mixed ^ mixed >> 13) * _MURMUR_FACTOR & _MASK
    return (mixed ^ mixed >> 15) & 0x7FFFFFFF


class _Builder(DefaultRecordBatchBuilder):  # type: ignore[misc]  # published without types
    """kafka-python's writer of a batch, that also takes many messages at once."""

    _first_timestamp: int | None
    _max_timestamp: int
    _last_offset: int

    def extend(self, messages: Iterable[Message], at_ms: int, next_offset: int) -> int:
        """Return how many messages, of the first ones, the batch took: all that fit, at least one if it is empty."""
        if self._first_timestamp is None:
            self._first_timestamp = self._max_timestamp = at_ms
        self._max_timestamp = max(self._max_timestamp, at_ms)
        start = _ATTRIBUTES + _varint(at_ms - self._first_timestamp)
        buffer, written = self._buffer, 0
        for _, key, value in messages:
            head = start + _varint(next_offset + written) + _varint(len(key)) + key + _varint(len(value))
            size = _varint(len(head) + len(value) + len(_NO_HEADERS))
            needed = len(size) + len(head) + len(value) + len(_NO_HEADERS)
            if len(buffer) + needed > self._batch_size and next_offset + written:
                break
            buffer += b"".join((size, head, value, _NO_HEADERS))
            written += 1
        self._num_records += written
        self._last_offset = next_offset + written - 1 if written else self._last_offset
        return written


class BulkRecords(MemoryRecordsBuilder):  # type: ignore[misc]  # published without types
    """The records of a batch, of which many can be added at once."""

    def __init__(self, compression: int, batch_size: int) -> None:
        super().__init__(MAGIC, compression, batch_size)
        self._builder = _Builder(
            magic=MAGIC,
            compression_type=compression,
            is_transactional=False,
            producer_id=-1,
            producer_epoch=-1,
            base_sequence=-1,
            batch_size=batch_size,
        )

    def extend(self, messages: Iterable[Message], at_ms: int) -> int:
        """Return how many messages, of the first ones, were added; 0 if it is full or closed."""
        if self._closed:
            return 0
        written: int = self._builder.extend(messages, at_ms, self._next_offset)
        self._next_offset += written
        return written


class BulkSender:
    """Adds messages to the batches of a producer that is connected; never blocks.

    Messages of one key keep their order, among themselves and with those that the producer's `send` took.
    """

    def __init__(self, producer: KafkaProducer) -> None:
        # The library has no public way to add more than one record at a time.
        self._accumulator: Any = producer._accumulator  # noqa: SLF001
        self._cluster: Any = producer._metadata  # noqa: SLF001
        self._wake: Callable[[], None] = producer._sender.wakeup  # noqa: SLF001
        self._tables: dict[str, list[Any]] = {}

    def knows(self, topic: str) -> bool:
        """Return whether the topic's partitions are known, so that `send` can place its messages."""
        return self._cluster.partitions_for_topic(topic) is not None

    def send(self, messages: Sequence[Message], done: Done) -> None:
        """Add messages to batches that leave by themselves.

        Parameters
        ----------
        messages
            Of topics that `knows` confirmed.
        done
            Told once of each place.

        Raises
        ------
        kafka.errors.IllegalStateError
            If the producer is closed.
        """
        places: dict[Any, list[int]] = {}
        tables = {topic: self._table(topic) for topic in {message.topic for message in messages}}
        for place, (topic, key, _) in enumerate(messages):
            table = tables[topic]
            places.setdefault(table[murmur2(key) % len(table)], []).append(place)
        at_ms, now = int(time.time() * 1000), time.monotonic()
        for partition, mine in places.items():
            with self._accumulator._tp_lock(partition):  # noqa: SLF001
                for batch, taken in self._fill(partition, [messages[place] for place in mine], at_ms, now):
                    _tell(batch, mine[taken], done)
        self._wake()

    def _table(self, topic: str) -> list[Any]:
        """Return a topic's partitions in order; the same objects as long as their number stays."""
        numbers = sorted(self._cluster.partitions_for_topic(topic))
        table = self._tables.get(topic, [])
        if len(table) != len(numbers):
            table = self._tables[topic] = [TopicPartition(topic, number) for number in numbers]
        return table

    def _fill(
        self, partition: Any, messages: Sequence[Message], at_ms: int, now: float
    ) -> Iterator[tuple[ProducerBatch, slice]]:
        """Yield each batch of a partition, whose lock is held, with the messages that it took."""
        if self._accumulator._closed:  # noqa: SLF001
            raise IllegalStateError("the producer is closed")
        queue, start = self._accumulator._batches[partition], 0  # noqa: SLF001
        batch = queue[-1] if queue and isinstance(queue[-1].records, BulkRecords) else None
        while start < len(messages):
            taken = 0 if batch is None else batch.records.extend(messages[start:], at_ms)
            if batch is not None and taken:
                batch.last_append = now
                yield batch, slice(start, start + taken)
                start += taken
            else:
                batch = self._new_batch(partition, now)
                queue.append(batch)

    def _new_batch(self, partition: Any, now: float) -> ProducerBatch:
        config = self._accumulator.config
        batch = ProducerBatch(partition, BulkRecords(config["compression_attrs"], config["batch_size"]), now=now)
        self._accumulator._incomplete.add(batch)  # noqa: SLF001
        return batch


def _tell(batch: ProducerBatch, places: Sequence[int], done: Done) -> None:
    batch.produce_future.add_callback(partial(_completed, places, done))
    batch.produce_future.add_errback(partial(done, places))


def _completed(
    places: Sequence[int], done: Done, result: tuple[int, int, Callable[[int], BaseException] | None]
) -> None:
    """Tell what became of a batch; where the broker refused some of its records, all of them count as refused."""
    failure = result[2]
    done(places, None if failure is None else failure(0))
