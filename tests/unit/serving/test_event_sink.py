"""The way to Kafka from the event loop: who shares a load, who hears what, who waits for a broker that is away."""

import asyncio
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from features.contracts.errors import UnavailableError
from features.kafka import USERS, TopicError, no_topic
from features.kafka_bulk import Done, Message
from serving.event_sink import LOADS, MOST_WAITING, ProducerSink


@dataclass
class HandProducer:
    """A producer whose acknowledgements come when the test says so, from a thread as Kafka's do."""

    away: bool = False
    known: bool = True
    connects: int = 0
    defect: Exception | None = None
    loads: list[tuple[Sequence[Message], Done]] = field(default_factory=list)
    came: threading.Event = field(default_factory=threading.Event)
    missing: set[str] = field(default_factory=set)

    def connect(self, topics: Iterable[str]) -> None:
        """Connect, if it is not away."""
        del topics
        self.connects += 1
        if self.away:
            raise UnavailableError("away")
        self.known = True

    def ask(self, topics: Iterable[str]) -> set[str]:
        """Return which topics are missing, if it is not away."""
        if self.away:
            raise UnavailableError("away")
        return self.missing & set(topics)

    def connected(self, topics: Iterable[str]) -> bool:
        """Return whether the test calls it connected."""
        del topics
        return self.known

    def send_many(self, messages: Sequence[Message], done: Done) -> None:
        """Keep a load until it is acknowledged, or fail after it was handed over."""
        self.loads.append((messages, done))
        if self.defect is not None:
            raise self.defect
        self.came.set()

    def acknowledge(self, places: Iterable[int] | None = None, error: BaseException | None = None) -> None:
        """Tell of places of the oldest load, all by default."""
        messages, done = self.loads[0]
        told = range(len(messages)) if places is None else list(places)
        if places is None:
            self.loads.pop(0)
        thread = threading.Thread(target=done, args=(told, error))
        thread.start()
        thread.join()

    def close(self) -> None:
        """Do nothing."""


def some(count: int) -> list[Message]:
    return [Message("t", b"k", b"%d" % number) for number in range(count)]


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_what_comes_together_leaves_together_and_each_hears_of_its_own() -> None:
    async def use() -> None:
        producer = HandProducer()
        sink = ProducerSink(producer)
        callers = [asyncio.create_task(sink.send(some(count))) for count in (1, 2, 3)]
        await turns()
        [(messages, _)] = producer.loads
        assert len(messages) == 6
        producer.acknowledge([0, 1])
        await turns()
        assert [caller.done() for caller in callers] == [True, False, False]
        producer.acknowledge([2, 3], RuntimeError("no leader"))
        await turns()
        with pytest.raises(UnavailableError):
            callers[1].result()
        with pytest.raises(UnavailableError):
            callers[2].result()
        await sink.close()

    asyncio.run(use())


def test_what_comes_meanwhile_gathers_and_leaves_with_the_acknowledgement_or_when_patience_ends() -> None:
    async def use() -> None:
        producer = HandProducer()
        sink = ProducerSink(producer)
        callers = []
        for _ in range(LOADS + 3):
            callers.append(asyncio.create_task(sink.send(some(1))))
            await turns()
        assert [len(messages) for messages, _ in producer.loads] == [1] * LOADS
        producer.acknowledge()
        await turns()
        assert [len(messages) for messages, _ in producer.loads][-1] == 3
        late = asyncio.create_task(sink.send(some(1)))
        await asyncio.sleep(0.3)
        assert len(producer.loads[-1][0]) == 1, "it did not wait for the broker any longer"
        while producer.loads:
            producer.acknowledge()
        await asyncio.gather(*callers, late)
        await sink.close()

    asyncio.run(use())


def test_callers_that_gave_up_send_nothing_later() -> None:
    async def use() -> None:
        producer = HandProducer()
        sink = ProducerSink(producer)
        held = []
        for _ in range(LOADS):
            held.append(asyncio.create_task(sink.send(some(1))))
            await turns()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await sink.send(some(5))
        for _ in range(LOADS):
            producer.acknowledge()
        await asyncio.gather(*held)
        await turns()
        assert producer.loads == []
        await sink.close()

    asyncio.run(use())


def test_a_broker_that_is_away_is_asked_once_for_all_who_wait() -> None:
    async def use() -> None:
        producer = HandProducer(away=True, known=False)
        sink = ProducerSink(producer)
        results = await asyncio.gather(*(sink.send(some(1)) for _ in range(50)), return_exceptions=True)
        assert all(isinstance(result, UnavailableError) for result in results)
        assert producer.connects == 1
        producer.away = False
        caller = asyncio.create_task(sink.send(some(1)))
        await asyncio.get_running_loop().run_in_executor(None, producer.came.wait, 5)
        producer.acknowledge()
        await caller
        await sink.close()

    asyncio.run(use())


class WithoutUsers(HandProducer):
    """A producer that finds one topic missing, when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.known_topics: set[str] = set()
        self.looked = threading.Event()
        self.found_missing = threading.Event()

    def connect(self, topics: Iterable[str]) -> None:
        """Connect to any topic but `users`."""
        if "users" in topics:
            self.looked.set()
            self.found_missing.wait(5)
            raise TopicError("Kafka has no topic users")
        self.known_topics.update(topics)

    def connected(self, topics: Iterable[str]) -> bool:
        """Return whether it connected to them."""
        return self.known_topics.issuperset(topics)


def test_a_topic_that_is_missing_fails_nobody_who_posts_to_another_and_is_told_once() -> None:
    async def use() -> None:
        producer = WithoutUsers()
        sink, loop = ProducerSink(producer), asyncio.get_running_loop()
        first = asyncio.create_task(sink.send([Message("users", b"k", b"v")]))
        await loop.run_in_executor(None, producer.looked.wait, 5)
        second = asyncio.create_task(sink.send(some(1)))
        await turns()
        producer.found_missing.set()
        with pytest.raises(TopicError):
            await first
        await loop.run_in_executor(None, producer.came.wait, 5)
        producer.acknowledge()
        await asyncio.wait_for(second, 5)
        with pytest.raises(TopicError):
            await sink.send([Message("users", b"k", b"v")])
        await sink.close()

    with capture_logs() as lines:
        asyncio.run(use())
    assert [(line["event"], line["topic"]) for line in lines] == [("topic_missing", "users")]


def test_a_topic_that_nobody_posts_to_is_missed_by_asking_and_told_once() -> None:
    async def use() -> list[list[str]]:
        producer = HandProducer()
        sink, told = ProducerSink(producer), []
        for missing in ({USERS}, {USERS}, set[str](), {USERS}):
            producer.missing = missing
            told.append(await sink.ask())
        await sink.close()
        return told

    with capture_logs() as lines:
        told = asyncio.run(use())
    assert told == [[no_topic(USERS)], [no_topic(USERS)], [], [no_topic(USERS)]]
    assert [(line["event"], line["topic"]) for line in lines] == [("topic_missing", USERS)] * 2


def test_memory_is_bounded_while_nothing_is_acknowledged() -> None:
    async def use() -> None:
        producer = HandProducer()
        sink = ProducerSink(producer)
        first = asyncio.create_task(sink.send(some(MOST_WAITING)))
        await turns()
        with pytest.raises(UnavailableError, match="wait for it already"):
            await sink.send(some(1))
        producer.acknowledge()
        await first
        second = asyncio.create_task(sink.send(some(1)))
        await turns()
        producer.acknowledge()
        await second
        await sink.close()

    asyncio.run(use())


class Meeting(deque[Any]):
    """News that two threads bring at the same moment, if nothing keeps one of them from coming in between."""

    def __init__(self) -> None:
        super().__init__()
        self.both = threading.Barrier(2)

    def append(self, news: Any) -> None:
        """Wait for the other one, but not for ever."""
        super().append(news)
        with suppress(threading.BrokenBarrierError):
            self.both.wait(0.5)


def test_two_producers_that_acknowledge_at_the_same_moment_are_both_heard() -> None:
    async def use() -> None:
        producer = HandProducer()
        sink = ProducerSink(producer)
        callers = []
        for _ in range(LOADS):
            callers.append(asyncio.create_task(sink.send(some(1))))
            await turns()
        sink._news = cast("Any", Meeting())
        threads = [threading.Thread(target=done, args=([0], None)) for _, done in producer.loads]
        for thread in threads:
            thread.start()
        await asyncio.wait_for(asyncio.gather(*callers), 5)
        for thread in threads:
            thread.join()
        producer.loads.clear()
        later = asyncio.create_task(sink.send(some(1)))
        await turns()
        producer.acknowledge()
        await asyncio.wait_for(later, 5)
        await sink.close()

    asyncio.run(use())


def test_news_that_make_no_sense_keep_nobody_else_from_hearing() -> None:
    async def use() -> None:
        producer = HandProducer()
        sink = ProducerSink(producer)
        caller = asyncio.create_task(sink.send(some(1)))
        await turns()
        [(_, done)] = producer.loads
        done([99], None)
        done([0], None)
        await asyncio.wait_for(caller, 5)
        await sink.close()

    asyncio.run(use())


@pytest.mark.parametrize("error", [ValueError("a defect"), UnavailableError("closed meanwhile")])
def test_what_cannot_be_handed_over_is_said_and_takes_no_place(error: Exception) -> None:
    async def use() -> None:
        producer = HandProducer(defect=error)
        sink = ProducerSink(producer)
        for _ in range(LOADS + 1):
            with pytest.raises(UnavailableError, match="Kafka did not take it"):
                await asyncio.wait_for(sink.send(some(1)), 5)
        # Its messages were on their way, and what became of them is told all the same.
        while producer.loads:
            producer.acknowledge()
        await turns()
        producer.defect = None
        full = asyncio.create_task(sink.send(some(MOST_WAITING)))
        await turns()
        with pytest.raises(UnavailableError, match="wait for it already"):
            await asyncio.wait_for(sink.send(some(1)), 5)
        producer.acknowledge()
        await asyncio.wait_for(full, 5)
        await sink.close()

    asyncio.run(use())
