"""Dead letters on their way to their topics: what Kafka has is marked so, what it does not take stays."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from features.contracts.errors import UnavailableError
from features.kafka import EventProducer, Header
from features.landing import dead_letters
from features.landing.dead_letters import UnpublishedError, publish_dead_letters
from features.settings import Settings


class Table:
    """The table of dead letters, as a connection and as the queries on it."""

    def __init__(self, *letters: tuple[int, str, bytes]) -> None:
        self.rows = [(number, "cluster", topic, 0, number, "not_json", "", raw) for number, topic, raw in letters]
        self.published: list[int] = []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        before = list(self.published)
        try:
            yield
        except BaseException:
            self.published = before
            raise

    def unpublished_dead_letters(self, _: object, *, but_not: list[str], at_most: int) -> list[tuple[Any, ...]]:
        return [row for row in self.rows if row[0] not in self.published and row[2] not in but_not][:at_most]

    def mark_published(self, _: object, *, dead_letter_ids: list[int]) -> None:
        self.published += dead_letter_ids


class Producer(EventProducer):
    """Kafka that has no topic `missing_dlq`, and takes no message that says so."""

    def __init__(self) -> None:
        super().__init__(Settings(database_url=SecretStr("")))
        self.sent: list[tuple[str, bytes | None]] = []

    def send_bytes(self, topic: str, key: bytes | None, value: bytes, headers: Sequence[Header] = ()) -> "Future[None]":
        del headers
        if topic == "missing_dlq":
            raise UnavailableError(f"Kafka, sending to {topic!r}: no such topic")
        done: Future[None] = Future()
        if value == b"too large":
            done.set_exception(UnavailableError("Kafka did not take it: too large"))
        else:
            self.sent.append((topic, key))
            done.set_result(None)
        return done


@pytest.fixture
def producer() -> Producer:
    return Producer()


def publish(table: Any, producer: Producer, monkeypatch: pytest.MonkeyPatch, *but_not: str) -> int:
    monkeypatch.setattr(dead_letters, "queries", table)
    return publish_dead_letters(table, producer, but_not)


def test_letters_are_published_topic_by_topic_the_oldest_first(
    producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table((1, "b", b""), (2, "a", b""), (3, "b", b""))

    assert [publish(table, producer, monkeypatch) for _ in range(3)] == [2, 1, 0]

    assert producer.sent == [("b_dlq", b"b:0:1"), ("b_dlq", b"b:0:3"), ("a_dlq", b"a:0:2")]
    assert table.published == [1, 3, 2]


def test_a_topic_that_is_missing_is_named_and_can_be_passed_over(
    producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(*((number, "missing", b"") for number in range(1_000)), (1_000, "a", b""))

    with pytest.raises(UnpublishedError, match=r"missing_dlq: .* `python -m features topics` creates it") as told:
        publish(table, producer, monkeypatch)
    assert told.value.topic == "missing"
    assert publish(table, producer, monkeypatch, "missing") == 1

    assert table.published == [1_000]


def test_a_letter_that_is_too_large_lets_those_beside_it_go_once(
    producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table((1, "a", b""), (2, "a", b"too large"), (3, "a", b""))

    for _ in range(3):
        with pytest.raises(UnpublishedError, match=r"too large; .* set its max\.message\.bytes to 2097152"):
            publish(table, producer, monkeypatch)

    assert table.published == [1, 3]
    assert producer.sent == [("a_dlq", b"a:0:1"), ("a_dlq", b"a:0:3")]
