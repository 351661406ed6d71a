"""Batches that cannot be read: said once with their place, and not asked for messages for ever."""

from collections.abc import Callable

import pytest
from kafka import TopicPartition
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords

from features.kafka_batches import UnreadableError, _Records

AT = TopicPartition("t", 3)


def batch(offset: int) -> bytearray:
    """Return a batch of two messages as a broker keeps it, compressed."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=1,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=9_999,
    )
    for number in range(2):
        builder.append(number, timestamp=1, key=b"k", value=b"v" * 500, headers=[])
    raw = bytearray(builder.build())
    raw[:8] = offset.to_bytes(8, "big")
    return raw


def with_wrong_checksum(raw: bytearray, _: pytest.MonkeyPatch) -> None:
    raw[-1] ^= 0xFF


def of_an_absent_codec(_: bytearray, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("kafka.codec.has_gzip", lambda: False)


@pytest.mark.parametrize("spoil", [with_wrong_checksum, of_an_absent_codec])
def test_a_batch_that_cannot_be_read_is_named_and_ends_what_was_fetched(
    spoil: Callable[[bytearray, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = batch(7), batch(9)
    records = _Records(7, AT, MemoryRecords(bytes(good + bad)))
    assert [record.offset for record in records.take(2)] == [7, 8]
    spoil(bad, monkeypatch)
    again = _Records(9, AT, MemoryRecords(bytes(bad)))

    with pytest.raises(UnreadableError, match=r"the batch at offset 9 cannot be read: \w+Error: ") as caught:
        again.take(2)

    assert caught.value.at == AT
    assert not again, "the client's loop goes on while there is something in it"
