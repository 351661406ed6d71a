"""The landing process around its batches: what is opened is closed, and dead letters are looked for and sent on."""

import threading
from collections import Counter
from collections.abc import Collection, Iterable
from types import SimpleNamespace
from typing import Any, Self

import pytest
from pydantic import SecretStr

from features.contracts.errors import UnavailableError
from features.kafka import TopicError
from features.landing import run
from features.landing.dead_letters import UnpublishedError
from features.landing.run import Landing, LandingOptions
from features.landing.sessions import Session
from features.settings import Settings


class FakeAdmin:
    """A cluster that lacks a topic."""

    closed = 0

    def __init__(self, settings: Settings) -> None:
        del settings

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self.close()

    def close(self) -> None:
        FakeAdmin.closed += 1

    def identify(self, topics: Iterable[str]) -> Any:
        raise TopicError(f"Kafka has no topic among {list(topics)}")


class FakeConsumer:
    """A consumer that can be closed, once."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self, *, autocommit: bool, timeout_ms: int) -> None:
        del autocommit, timeout_ms
        self.closed += 1


@pytest.fixture
def landing() -> Landing:
    """Return a landing of which nothing is started."""
    return Landing(Settings(database_url=SecretStr("host=/nowhere")), LandingOptions(), threading.Event())


def test_what_was_opened_while_a_topic_is_missing_is_closed_before_the_next_attempt(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = FakeConsumer()
    monkeypatch.setattr(FakeAdmin, "closed", 0)
    monkeypatch.setattr(run, "Admin", FakeAdmin)
    monkeypatch.setattr(run, "open_consumer", lambda *_, **__: consumer)

    with pytest.raises(TopicError):
        landing._open_reader()

    assert (consumer.closed, FakeAdmin.closed) == (1, 1)


class Letters:
    """Dead letters that wait, by topic, and Kafka that takes those of some topics, each after a while."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **waiting: int) -> None:
        self.waiting = Counter(waiting)
        self.refused: set[str] = set()
        self.refusal_takes_s = 0.0
        self.database_is_away = False
        self.asked = 0
        self.now_s = 1_000.0
        monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: self.now_s))
        monkeypatch.setattr(run, "publish_dead_letters", self.publish)
        monkeypatch.setattr(Session, "connection", lambda _: None)

    def publish(self, connection: object, producer: object, but_not: Collection[str]) -> int:
        del connection, producer
        self.asked += 1
        if self.database_is_away:
            raise UnavailableError("away")
        topic = next((topic for topic in sorted(+self.waiting) if topic not in but_not), None)
        if topic in self.refused:
            self.now_s += self.refusal_takes_s
            raise UnpublishedError(topic, UnavailableError("no such topic"))
        return 0 if topic is None else self.waiting.pop(topic)


def test_a_topic_that_takes_no_dead_letters_holds_up_no_other(
    landing: Landing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    letters = Letters(monkeypatch, a=1, b=2, c=3)
    letters.refused = {"a"}

    landing._publish()

    assert +letters.waiting == {"a": 1}
    told = capsys.readouterr()
    assert "a_dlq: no such topic" in told.out + told.err
    letters.refused.clear()
    letters.now_s += run.PUBLISH_AGAIN_S
    landing._publish()
    assert not +letters.waiting


def test_topics_that_fail_slowly_hold_up_neither_landing_nor_others_for_ever(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = Letters(monkeypatch, a=1, b=1, c=1)
    letters.refused, letters.refusal_takes_s = {"a", "b"}, 7.0

    for takes_s in (7.0, 7.0, 0.0):
        began_s = letters.now_s
        landing._publish()
        landing._publish()  # at once again: nothing is tried
        assert letters.now_s == began_s + takes_s
        letters.now_s += run.PUBLISH_AGAIN_S

    assert +letters.waiting == {"a": 1, "b": 1}


def test_letters_of_which_nobody_told_are_found_within_a_minute(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = Letters(monkeypatch)
    landing._publish()
    letters.waiting["a"] = 1
    for _ in range(100):
        landing._publish()
    assert (letters.asked, +letters.waiting) == (1, {"a": 1}), "at the start, and not all the time"

    letters.now_s += run.LOOK_AGAIN_S
    landing._publish()

    assert not +letters.waiting


def test_letters_wait_while_the_database_is_away(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = Letters(monkeypatch, a=1)
    letters.database_is_away = True
    landing._publish()
    landing._publish()
    assert letters.asked == 1

    letters.database_is_away = False
    letters.now_s += run.PUBLISH_AGAIN_S
    landing._publish()

    assert not +letters.waiting
