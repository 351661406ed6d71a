"""A server put together from settings: none of its loops holds up another, and whatever fails, all of it is closed."""

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest
from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr

from features.audit import AuditEvent
from features.contracts.errors import UnavailableError
from features.contracts.moves import Moved
from features.moves import Moves
from features.settings import Settings
from serving import assemble as assembling
from serving.assemble import assemble, encoders_of
from serving.auditing import By
from serving.event_sink import ProducerSink
from serving.impressions import Impressions
from serving.keeper import Keeper
from serving.metrics import Metrics
from serving.parts import Parts
from training.bundle.registry import Registry


def settings_of(folder: Path) -> Settings:
    """Return the settings of a server to which everything is away."""
    return Settings(
        database_url=SecretStr("postgresql://nobody:x@127.0.0.1:1/nothing"),
        kafka_bootstrap_servers="127.0.0.1:1",
        mlflow_tracking_uri="http://127.0.0.1:1",
        cache_dir=folder,
    )


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """Return its parts."""
    return assemble(settings_of(tmp_path), Metrics())


def test_a_rollback_does_not_wait_for_who_reads_of_moves(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, answers = threading.Event(), threading.Event()

    def hung(moves: Moves, at_most: int) -> list[AuditEvent]:
        del moves, at_most
        reads.set()
        answers.wait(30)
        return []

    async def use() -> Moved:
        reading = asyncio.create_task(parts.models.newest(1, people=False))
        await asyncio.to_thread(reads.wait, 10)
        try:
            return await asyncio.wait_for(parts.moves.roll_back(By("admin", "r1"), "worse"), 2)
        finally:
            answers.set()
            await reading

    monkeypatch.setattr(Registry, "versions", lambda _registry: [])
    monkeypatch.setattr(Registry, "aliases", lambda _registry: {})
    monkeypatch.setattr(Registry, "metrics", lambda _registry, _run_ids: {})
    monkeypatch.setattr(Moves, "history", hung)
    monkeypatch.setattr(Moves, "make", lambda *_: Moved("2", "1"))
    assert asyncio.run(use()) == Moved("2", "1")


@pytest.mark.parametrize("failing", ["flush", "resume"])
def test_whatever_fails_all_is_closed(parts: Parts, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    closed = []

    async def fails(_part: object) -> None:
        raise RuntimeError(failing)

    for kind in (ProducerSink, AsyncConnectionPool):

        async def close(part: object, close: object = kind.close, name: str = kind.__name__) -> None:
            closed.append(name)
            await close(part)  # type: ignore[operator]  # a method of that class

        monkeypatch.setattr(kind, "close", close)
    monkeypatch.setattr(*((Impressions, "flush", fails) if failing == "flush" else (Keeper, "resume", fails)))

    async def use() -> None:
        async with parts.running():
            await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match=failing):
        asyncio.run(use())
    assert closed == ["ProducerSink", "AsyncConnectionPool"]
    for asked in (parts.moves.roll_back(By("admin", "r1"), ""), parts.operators.run(lambda _: None, timeout_s=1)):
        with pytest.raises(RuntimeError, match="after shutdown"):
            asyncio.run(asked)


def test_an_encoder_that_the_disk_does_not_take_is_away_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(assembling, "load_encoder", full)
    with pytest.raises(UnavailableError, match=f"cannot be kept in {tmp_path / 'encoders'}: .*space.*Make it writable"):
        encoders_of(settings_of(tmp_path))("5b" * 32)
