"""Entries of the audit: none is lost where many come at once or Postgres is away, and nobody waits for long."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from features.audit import Deed
from features.contracts.errors import UnavailableError
from features.db.connection import RefusedError
from serving import notes as module
from serving.metrics import Metrics
from serving.notes import Notes, Write
from tests.support.serving_parts import TOKEN, Bench, MemoryAudit, bench

ADMIN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as parts:
        parts.registry.publish()
        yield parts


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def deed(number: int) -> Deed:
    return Deed("admin", "delete", f"i{number}")


async def until_noted(audit: MemoryAudit, number: int) -> None:
    async with asyncio.timeout(10):
        while len(audit.deeds) < number:  # noqa: ASYNC110  # written in a thread
            await asyncio.sleep(0.01)


def targets(audit: MemoryAudit) -> list[str]:
    return [one.target for one in audit.deeds]


def count(metrics: Metrics, outcome: str) -> float:
    return metrics.registry.get_sample_value("marquee_audit_entries_total", {"outcome": outcome}) or 0.0


def test_what_operators_do_at_once_is_noted_before_they_are_answered(served: Bench) -> None:
    async def use() -> None:
        async with served.client() as client:
            for start in range(0, 24, 3):
                paths = [f"/api/v1/items/i{number}" for number in range(start, start + 3)]
                answers = await asyncio.gather(*(client.delete(path, headers=ADMIN) for path in paths))
                assert [answer.status_code for answer in answers] == [202] * 3
                assert len(served.audit.deeds) == start + 3
            assert (await client.post("/model/reload", headers=ADMIN)).status_code == 200

    asyncio.run(use())
    assert sorted(targets(served.audit)) == sorted(["1", *(f"i{number}" for number in range(24))])


def test_entries_wait_in_order_while_postgres_is_away(
    thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_S", 0.01)
    audit, metrics = MemoryAudit(away=True), Metrics()

    async def use() -> None:
        notes = Notes(audit.open, thread, metrics)
        running = asyncio.create_task(notes.run())
        for number in range(5):
            await asyncio.wait_for(notes.add(deed(number)), 10)
        audit.away = False
        await until_noted(audit, 5)
        running.cancel()

    asyncio.run(use())
    assert targets(audit) == [f"i{number}" for number in range(5)]
    assert (count(metrics, "written"), count(metrics, "dropped")) == (5, 0)


@pytest.mark.parametrize("away", [False, True])
def test_what_waits_when_the_server_ends_is_written_or_counted(thread: ThreadPoolExecutor, away: bool) -> None:  # noqa: FBT001
    audit, metrics = MemoryAudit(away=away), Metrics()

    async def use() -> None:
        notes = Notes(audit.open, thread, metrics, limit=3)
        adding = [asyncio.create_task(notes.add(deed(number))) for number in range(5)]
        await asyncio.sleep(0)
        await notes.flush()
        await asyncio.gather(*adding)

    asyncio.run(use())
    assert targets(audit) == ([] if away else ["i0", "i1", "i2"])
    assert count(metrics, "dropped") == (5 if away else 2)


def test_an_entry_under_way_when_the_server_ends_is_written_once(thread: ThreadPoolExecutor) -> None:
    audit, metrics = MemoryAudit(), Metrics()
    opened, goes_on = threading.Event(), threading.Event()

    @contextmanager
    def slow() -> Iterator[Write]:
        opened.set()
        goes_on.wait(30)
        with audit.open() as write:
            yield write

    async def use() -> None:
        notes = Notes(slow, thread, metrics)
        running = asyncio.create_task(notes.run())
        adding = [asyncio.create_task(notes.add(deed(0)))]
        await asyncio.to_thread(opened.wait, 30)
        adding.append(asyncio.create_task(notes.add(deed(1))))
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        goes_on.set()
        await notes.flush()
        await asyncio.gather(*adding)

    asyncio.run(use())
    assert targets(audit) == ["i0", "i1"]
    assert (count(metrics, "written"), count(metrics, "dropped")) == (2, 0)


@pytest.mark.parametrize("error", [RefusedError("no"), ValueError("a defect")])
def test_one_that_cannot_be_written_takes_no_other_with_it(thread: ThreadPoolExecutor, error: Exception) -> None:
    audit, metrics = MemoryAudit(), Metrics()

    @contextmanager
    def picky() -> Iterator[Write]:
        def write(one: Deed) -> None:
            if one.target == "i1":
                raise error
            audit.deeds.append(one)

        yield write

    async def use() -> None:
        notes = Notes(picky, thread, metrics)
        adding = [asyncio.create_task(notes.add(deed(number))) for number in range(3)]
        running = asyncio.create_task(notes.run())
        await asyncio.wait_for(asyncio.gather(*adding), 10)
        await notes.flush()
        running.cancel()

    asyncio.run(use())
    assert targets(audit) == ["i0", "i2"]
    assert (count(metrics, "written"), count(metrics, "refused") + count(metrics, "dropped")) == (2, 1)


def test_postgres_that_breaks_off_is_asked_again_for_the_rest_only(
    thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_S", 0.01)
    audit, metrics = MemoryAudit(), Metrics()

    @contextmanager
    def one_at_a_time() -> Iterator[Write]:
        begun = len(audit.deeds)

        def write(one: Deed) -> None:
            if len(audit.deeds) > begun:
                raise UnavailableError("it ended the session")
            audit.deeds.append(one)

        yield write

    async def use() -> None:
        notes = Notes(one_at_a_time, thread, metrics)
        adding = [asyncio.create_task(notes.add(deed(number))) for number in range(4)]
        running = asyncio.create_task(notes.run())
        await asyncio.wait_for(asyncio.gather(*adding), 10)
        await until_noted(audit, 4)
        running.cancel()

    asyncio.run(use())
    assert targets(audit) == [f"i{number}" for number in range(4)]
