"""A stream from a seed: new events of every kind, known duplicates, and known bad ones, endlessly different."""

import json
import random
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from features.contracts.errors import UnavailableError
from features.contracts.events import encode_event, stamp_event
from features.kafka import EVENT_TOPICS, INTERACTIONS, EventProducer, address

if TYPE_CHECKING:
    from concurrent.futures import Future

START = datetime(2026, 1, 1, tzinfo=UTC)
ACKNOWLEDGED_WITHIN_S = 30.0
PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Sent:
    """A message and what it is: an event with an id, or a bad one, whose content is its only identity."""

    topic: str
    key: bytes
    value: bytes
    event_id: str | None


class Notes(Protocol):
    """Who writes down what is sent."""

    def intend(self, messages: Iterable[Sent]) -> None:
        """Write down what is about to be sent."""

    def acknowledge(self, messages: Iterable[Sent]) -> None:
        """Write down what has arrived."""


class Stream:
    """Messages that follow from a seed.

    Parameters
    ----------
    seed
        The same seed gives the same messages.
    duplicates, bad
        Shares of messages that say again what was said before, and of bad ones.
    """

    def __init__(self, seed: int, *, duplicates: float = 0.1, bad: float = 0.02) -> None:
        self._random = random.Random(seed)  # noqa: S311  # no secret: it must be repeatable
        self._seed = seed
        self._duplicates = duplicates
        self._bad = bad
        self._number = 0
        self._said: list[Sent] = []

    def take(self, count: int) -> list[Sent]:
        """Return the next messages."""
        return [self._next() for _ in range(count)]

    def _next(self) -> Sent:
        chance = self._random.random()
        self._number += 1
        if chance < self._bad:
            return self.bad()
        if chance < self._bad + self._duplicates and self._said:
            return self.again(self._random.choice(self._said))
        sent = self.good()
        if len(self._said) < 5_000:
            self._said.append(sent)
        else:
            self._said[self._random.randrange(5_000)] = sent
        return sent

    def again(self, sent: Sent) -> Sent:
        """Return a message said before, by chance under another key, so that it reaches another partition, too."""
        if self._random.random() < 0.5:
            return sent
        return Sent(sent.topic, b"again-%d" % self._random.randrange(100), sent.value, sent.event_id)

    def good(self) -> Sent:
        """Return a new event of some kind, most often an interaction."""
        event_id = f"{self._seed}-{self._number}"
        at = START + timedelta(seconds=self._number)
        fields = self._random.choices(KINDS, WEIGHTS)[0](self._random, self._number)
        event = stamp_event(fields, now=at, event_id=event_id)
        return Sent(*address(event), encode_event(event), event_id)

    def bad(self) -> Sent:
        """Return a message that must become a dead letter; no two of a seed have the same content."""
        number = f"{self._seed}-{self._number}"
        event = {"event_id": number, "type": "interaction", "user_id": "u", "item_id": "i", "action": "view"}
        now = datetime.now(UTC)
        whole = {**event, "schema_version": 1, "occurred_at": now.isoformat()}
        contents: list[Any] = [
            f"not json {number}",
            json.dumps([number]),
            json.dumps({**whole, "type": "order"}),
            json.dumps({**whole, "schema_version": 77}),
            json.dumps({**whole, "user_id": None}),
            json.dumps({**whole, "occurred_at": (now + timedelta(days=30)).isoformat()}),
            json.dumps({**whole, "user_id": "a\0b"}),
        ]
        value = self._random.choice(contents).encode()
        topic = INTERACTIONS if self._random.random() < 0.7 else self._random.choice(EVENT_TOPICS)
        return Sent(topic, b"bad-%d" % self._random.randrange(100), value, None)


def _interaction(chance: random.Random, number: int) -> dict[str, Any]:
    del number
    return {"user_id": f"u{chance.randrange(200)}", "item_id": f"i{chance.randrange(300)}", "action": "view"}


def _item(chance: random.Random, number: int) -> dict[str, Any]:
    partial = {"partial": True} if chance.random() < 0.3 else {}
    return {"type": "item", "item_id": f"i{chance.randrange(300)}", "title": f"title {number}", **partial}


def _user(chance: random.Random, number: int) -> dict[str, Any]:
    return {"type": "user", "user_id": f"u{chance.randrange(200)}", "attributes": {"number": number}}


def _impression(chance: random.Random, number: int) -> dict[str, Any]:
    items = [{"item_id": f"i{chance.randrange(300)}", "position": place} for place in (1, 2, 3)]
    return {
        "type": "impression",
        "user_id": f"u{chance.randrange(200)}",
        "recommendation_id": f"r{number}",
        "items": items,
    }


def _feedback(chance: random.Random, number: int) -> dict[str, Any]:
    item = f"i{chance.randrange(300)}"
    return {"type": "feedback", "recommendation_id": f"r{number}", "item_id": item, "outcome": "clicked"}


KINDS = (_interaction, _item, _user, _impression, _feedback)
WEIGHTS = (84, 4, 4, 4, 4)


def deliver(producer: EventProducer, notes: Notes, messages: Sequence[Sent], within_s: float = 360) -> None:
    """Return once Kafka has all messages, each noted before every attempt; what failed is tried again.

    Raises
    ------
    UnavailableError
        If some did not arrive within the time.
    """
    deadline = time.monotonic() + within_s
    waiting, pause = list(messages), threading.Event()
    while waiting:
        notes.intend(waiting)
        sends = [_send(producer, sent) for sent in waiting]
        arrived = [_arrived(send) for send in sends]
        notes.acknowledge(sent for sent, there in zip(waiting, arrived, strict=True) if there)
        waiting = [sent for sent, there in zip(waiting, arrived, strict=True) if not there]
        if waiting:
            pause.wait(PAUSE_S)
        if waiting and time.monotonic() > deadline:
            raise UnavailableError(f"{len(waiting)} messages did not reach Kafka within {within_s:g} s")


def _send(producer: EventProducer, sent: Sent) -> "Future[None] | None":
    try:
        return producer.send_bytes(sent.topic, sent.key, sent.value)
    except UnavailableError:
        return None


def _arrived(send: "Future[None] | None") -> bool:
    if send is None:
        return False
    try:
        send.result(ACKNOWLEDGED_WITHIN_S)
    except (UnavailableError, TimeoutError):
        return False
    return True
