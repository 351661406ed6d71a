"""Speed of landing: from a Kafka topic to committed rows, one process, and a replay in which all are duplicates."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import SecretStr

from benchmarks.record import record
from features.contracts.events import stamp_event
from features.kafka import EventProducer, wait_all
from features.settings import Settings
from ops.local.databases import create_databases
from ops.local.direct import running
from ops.local.layout import Layout
from ops.local.ports import LOOPBACK, free_ports
from ops.local.processes import end, stack_processes
from ops.local.services import kafka, postgres
from ops.local.stack import Stack
from ops.local.state import Secrets, State

EVENTS: Final = 200_000
WARM_UP: Final = 5_000


def run() -> None:
    """Measure events per second of `python -m features land`, start-up left out, on new events and on duplicates."""
    with _services() as settings:
        _features(settings, "migrate")
        _features(settings, "topics")
        _produce(settings, range(WARM_UP))
        overhead_s = _land_s(settings)
        rates = {}
        for what in ("new events", "the same again: duplicates only"):
            print(f"landing: {EVENTS} events, {what}", flush=True)
            _produce(settings, range(WARM_UP, WARM_UP + EVENTS))
            rates[f"topic to committed rows, {what}"] = round(EVENTS / max(_land_s(settings) - overhead_s, 1e-3))
    record("landing", {"events": EVENTS, "events_per_s": rates})


@contextmanager
def _services() -> Iterator[Settings]:
    """Yield settings of a real Postgres and a real Kafka that are thrown away afterwards."""
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # Postgres runs as another account where we run as root
        stack = Stack(Layout(folder / "run", folder / "mlruns"), State(free_ports(), Secrets()))
        stack.layout.run_dir.mkdir()
        try:
            with running(postgres.service(stack), stack), running(kafka.service(stack), stack):
                create_databases(stack)
                yield Settings(
                    database_url=SecretStr(stack.database_url("marquee")),
                    kafka_bootstrap_servers=f"{LOOPBACK}:{stack.state.ports.kafka}",
                )
        finally:
            end(stack_processes(stack.layout))


def _produce(settings: Settings, numbers: range) -> None:
    """Produce one interaction per number, about 250 bytes each; a number always gives the same event."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(20_000, size=numbers.stop), rng.zipf(1.3, size=numbers.stop) % 10_000
    now, action = datetime(2026, 1, 1, tzinfo=UTC), {"action": "view"}
    producer = EventProducer(settings)
    try:
        for start in range(numbers.start, numbers.stop, 20_000):
            part = range(start, min(start + 20_000, numbers.stop))
            events = (
                stamp_event(
                    {"user_id": f"u{users[n]}", "item_id": f"i{items[n]}", **action},
                    now=now,
                    event_id=f"bench-{n:032d}",
                )
                for n in part
            )
            wait_all([producer.send(event) for event in events], time.monotonic() + 60)
    finally:
        producer.close()


def _land_s(settings: Settings) -> float:
    """Return how many seconds a landing process took to catch up, its start included."""
    started = time.perf_counter()
    _features(settings, "land", "--until-caught-up", "--slot", "bench")
    return time.perf_counter() - started


def _features(settings: Settings, *arguments: str) -> None:
    environment = {
        **os.environ,
        "MARQUEE_DATABASE_URL": settings.database_url.get_secret_value(),
        "MARQUEE_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
    }
    subprocess.run([sys.executable, "-m", "features", *arguments], env=environment, check=True)
