"""Background tasks: what nobody expected shows in the log and is counted, and they go on; nobody waits for ever."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from features.contracts.errors import UnavailableError
from features.contracts.events import Event, Impression
from features.kafka_bulk import Message
from serving.digests import AT_ONCE, Digests
from serving.guard import Guard
from serving.impressions import BATCH, Impressions
from serving.keeper import every
from serving.metrics import Metrics
from serving.posting import Poster
from serving.problems import ProblemError
from tests.support.serving_parts import MemorySink

NO_TEXT = "\ud800"
"""A lone surrogate: no event that names a user so can be written."""


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    with capture_logs() as lines:
        yield lines


def impression(number: int, user_id: str = "u") -> Impression:
    return Impression(
        event_id=f"e{number}",
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        schema_version=1,
        user_id=user_id,
        recommendation_id=f"r{number}",
        model_version="1",
        experiment_id=None,
        context={},
        items=[],
    )


def event_ids(events: Sequence[Event]) -> list[str]:
    return [str(event.event_id) for event in events]


def count(metrics: Metrics, outcome: str) -> float:
    return metrics.registry.get_sample_value("marquee_impressions_total", {"outcome": outcome}) or 0.0


def kafka() -> Guard:
    return Guard("Kafka", timeout_s=5, rest_s=0)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  # what is waited for sets no event
            await asyncio.sleep(0.01)


async def cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_impressions_go_on_after_one_that_cannot_be_written(logged: list[EventDict]) -> None:
    sink, metrics = MemorySink(), Metrics()
    impressions = Impressions(sink, kafka(), metrics)

    async def use() -> None:
        sending = asyncio.create_task(impressions.run())
        impressions.offer(impression(0, NO_TEXT))
        await until(lambda: count(metrics, "dropped") == 1)
        impressions.offer(impression(1))
        await until(lambda: count(metrics, "sent") == 1)
        await cancelled(sending)

    asyncio.run(use())
    assert event_ids(sink.events) == ["e1"]
    [line] = logged
    assert (line["event"], line["count"], line["log_level"]) == ("impressions_defect", 1, "error")
    assert line["exc_info"]


def test_a_defect_takes_its_own_batch_alone(logged: list[EventDict]) -> None:
    sink, metrics = MemorySink(), Metrics()
    impressions = Impressions(sink, kafka(), metrics)

    async def use() -> None:
        impressions.offer(impression(0, NO_TEXT))
        for number in range(1, BATCH + 2):
            impressions.offer(impression(number))
        await impressions.flush()

    asyncio.run(use())
    assert (count(metrics, "dropped"), count(metrics, "sent")) == (BATCH, 2)
    assert event_ids(sink.events) == [f"e{BATCH}", f"e{BATCH + 1}"]
    assert [line["event"] for line in logged] == ["impressions_defect"]


def test_an_outage_is_told_when_it_begins_and_when_it_is_over(logged: list[EventDict]) -> None:
    sink, metrics = MemorySink(away=True), Metrics()
    impressions = Impressions(sink, kafka(), metrics)

    async def use() -> None:
        for number in range(6):
            sink.away = number < 4
            impressions.offer(impression(number))
            await impressions.flush()

    asyncio.run(use())
    assert (count(metrics, "sent"), count(metrics, "dropped")) == (2, 4)
    began, ended = logged
    assert (began["event"], began["error"]) == ("impressions_dropped", "Kafka is away")
    assert (ended["event"], ended["dropped"]) == ("impressions_go_on", 4)


def test_why_events_are_not_taken_stands_in_the_log_once(logged: list[EventDict]) -> None:
    sink = MemorySink(away=True)
    poster = Poster(sink, kafka(), Metrics())

    async def use() -> None:
        for number in range(6):
            sink.away = number < 4
            with contextlib.suppress(ProblemError):
                await poster.post(b'{"user_id": "u", "item_id": "i", "action": "view"}', None)

    asyncio.run(use())
    began, ended = logged
    assert (began["event"], began["error"]) == ("events_not_taken", "Kafka is away")
    assert (ended["event"], ended["dropped"]) == ("events_taken_again", 4)


@dataclass
class SlowSink(MemorySink):
    """Keeps nothing before `goes_on` is set."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, messages: Sequence[Message]) -> None:
        """Keep events."""
        self.asked.set()
        await self.goes_on.wait()
        await super().send(messages)


def test_impressions_under_way_when_the_server_ends_leave_with_the_last_ones() -> None:
    metrics = Metrics()

    async def use() -> SlowSink:
        sink = SlowSink()
        impressions = Impressions(sink, kafka(), metrics)
        sending = asyncio.create_task(impressions.run())
        for number in range(3):
            impressions.offer(impression(number))
        await asyncio.wait_for(sink.asked.wait(), 10)
        impressions.offer(impression(3))
        await cancelled(sending)
        sink.goes_on.set()
        await impressions.flush()
        return sink

    sink = asyncio.run(use())
    assert event_ids(sink.events) == ["e0", "e1", "e2", "e3"]
    assert (count(metrics, "sent"), count(metrics, "dropped")) == (4, 0)


def test_who_asks_for_a_history_that_cannot_be_read_is_told_and_the_next_one_is_answered(
    logged: list[EventDict],
) -> None:
    async def read(user_ids: Sequence[str]) -> dict[str, int | None]:
        return {user_id: int(user_id) for user_id in user_ids}

    async def use() -> None:
        digests = Digests(read)
        asked = ["not a number", *map(str, range(AT_ONCE))]  # the last one is read after the others
        async with asyncio.timeout(10):
            *told, last = await asyncio.gather(*map(digests.of, asked), return_exceptions=True)
            assert {type(answer) for answer in told} == {UnavailableError}
            assert last == AT_ONCE - 1
            assert await digests.of("7") == 7

    asyncio.run(use())
    assert [(line["event"], line["count"]) for line in logged] == [("digests_defect", AT_ONCE)]


def test_a_step_that_is_repeated_is_repeated_after_a_defect(logged: list[EventDict]) -> None:
    done = 0

    async def step() -> None:
        nonlocal done
        done += 1
        if done == 1:
            raise ValueError("unheard of")

    async def use() -> None:
        repeating = asyncio.create_task(every(0.0, "a step", step))
        await until(lambda: done > 2)
        await cancelled(repeating)

    asyncio.run(use())
    assert [(line["event"], line["what"]) for line in logged] == [("refresh_defect", "a step")]
