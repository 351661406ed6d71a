"""Streams of events for benchmarks: the same numbers give the same events, about 250 bytes each."""

import random
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final

import numpy as np

from features.contracts.events import encode_event, stamp_event
from features.kafka import INTERACTIONS, EventProducer
from features.kafka_bulk import Message
from features.settings import Settings

USERS: Final = 20_000
ITEMS: Final = 10_000
AT_ONCE: Final = 5_000
AWAY_S: Final = 60.0


def interactions(numbers: range, *, bad_share: float = 0.0) -> Iterator[Message]:
    """Yield one interaction per number with a random id that follows from it; some broken, if a share is asked for."""
    rng = np.random.default_rng(numbers.start)
    users, items = rng.integers(USERS, size=len(numbers)), rng.zipf(1.3, size=len(numbers)) % ITEMS
    broken = rng.random(len(numbers)) < bad_share
    now = datetime.now(UTC)
    for number, user, item, is_broken in zip(numbers, users, items, broken, strict=True):
        event_id = str(uuid.UUID(int=random.Random(number).getrandbits(128), version=4))  # noqa: S311  # no secret
        fields = {"user_id": f"u{user}", "item_id": f"i{item}", "action": "view"}
        raw = encode_event(stamp_event(fields, now=now, event_id=event_id))
        yield Message(INTERACTIONS, b"u%d" % user, raw[:-1] if is_broken else raw)


def produce(settings: Settings, messages: Iterable[Message]) -> int:
    """Return how many messages Kafka has acknowledged."""
    producer, count = EventProducer(settings), 0
    producer.connect([INTERACTIONS])
    try:
        stream = iter(messages)
        while some := list(islice(stream, AT_ONCE)):
            _send(producer, some)
            count += len(some)
    finally:
        producer.close()
    return count


def _send(producer: EventProducer, messages: Sequence[Message]) -> None:
    arrived, failures = threading.Semaphore(0), list[BaseException]()

    def done(places: Sequence[int], failure: BaseException | None) -> None:
        failures.extend([failure] if failure else [])
        arrived.release(len(places))

    producer.send_many(messages, done)
    for _ in messages:
        if not arrived.acquire(timeout=AWAY_S):
            raise TimeoutError(f"Kafka did not acknowledge within {AWAY_S} s")
    if failures:
        raise failures[0]
