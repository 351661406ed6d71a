"""What is handed over in bulk is what kafka-python itself would have written: partitions, records, ends of batches."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.cluster import ClusterMetadata
from kafka.partitioner.default import murmur2 as reference
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from features.contracts.errors import UnavailableError
from features.kafka import EventProducer
from features.kafka_bulk import MAGIC, BulkRecords, BulkSender, Message, murmur2

AT_MS = 1_767_225_600_000
messages = st.lists(st.builds(Message, st.just("t"), st.binary(max_size=300), st.binary(max_size=3_000)), max_size=30)


@given(st.binary(max_size=80))
def test_keys_go_to_the_partition_of_all_kafka_clients(key: bytes) -> None:
    assert murmur2(key) == reference(key) & 0x7FFFFFFF


def read_back(records: MemoryRecordsBuilder) -> list[tuple[int, int, bytes, bytes]]:
    records.close()
    return [
        (record.offset, record.timestamp, record.key, record.value)
        for batch in MemoryRecords(bytes(records.buffer()))
        for record in batch
    ]


@pytest.mark.parametrize("compression", [0, 3])
@given(messages, messages)
def test_records_read_back_as_they_were_given(compression: int, first: list[Message], second: list[Message]) -> None:
    records = BulkRecords(compression, 1_000_000)
    assert records.extend(first, AT_MS) == len(first)
    # A single one in between, by the library's own way, and time going on.
    assert records.append(AT_MS + 1, b"key", b"value") is not None
    assert records.extend(second, AT_MS + 5_000) == len(second)
    assert read_back(records) == [
        *((place, AT_MS, key, value) for place, (_, key, value) in enumerate(first)),
        (len(first), AT_MS + 1, b"key", b"value"),
        *((len(first) + 1 + place, AT_MS + 5_000, key, value) for place, (_, key, value) in enumerate(second)),
    ]
    assert records.extend(first, AT_MS) == 0, "it is closed"


@given(messages.filter(bool))
def test_bytes_are_those_that_the_library_writes(given_messages: list[Message]) -> None:
    bulk, own = BulkRecords(0, 1_000_000), MemoryRecordsBuilder(MAGIC, 0, 1_000_000)
    bulk.extend(given_messages, AT_MS)
    for _, key, value in given_messages:
        own.append(AT_MS, key, value)
    bulk.close()
    own.close()
    assert bytes(bulk.buffer()) == bytes(own.buffer())


@given(messages.filter(bool), st.integers(100, 5_000))
def test_a_batch_takes_what_the_library_would_put_into_one(given_messages: list[Message], size: int) -> None:
    bulk, own = BulkRecords(0, size), MemoryRecordsBuilder(MAGIC, 0, size)
    taken = 0
    for _, key, value in given_messages:
        if own.append(AT_MS, key, value) is None:
            break
        taken += 1
    assert bulk.extend(given_messages, AT_MS) == taken > 0


def test_a_producer_made_anew_takes_nothing_to_topics_that_it_has_not_looked_up() -> None:
    producer, sender = EventProducer(cast("Any", None)), SimpleNamespace(wakeup=lambda: None)
    client: Any = SimpleNamespace(_accumulator=None, _metadata=ClusterMetadata(), _sender=sender)
    producer._bulk = BulkSender(client)
    with pytest.raises(UnavailableError, match="not connected"):
        producer.send_many([Message("t", b"", b"")], lambda _places, _error: None)
