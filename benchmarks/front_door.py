"""Speed of the front door: `POST /api/v1/events` on one worker, real Kafka, `acks=all`, one event a request and 100.

References of the same run: a server that only echoes the same bodies, and kafka-python's own producer in a loop.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import msgspec

from benchmarks.http_load import Load, load_from_a_process
from benchmarks.record import record
from benchmarks.services import environment, services
from features.contracts.events import stamp_event
from features.kafka import EventProducer, message_of, wait_all
from features.settings import Settings
from ops.local.ports import LOOPBACK, free_port

PATH: Final = "/api/v1/events"
SECONDS: Final = 8.0
BATCH: Final = 100
CONNECTIONS: Final = {"single": (16, 32), "batch": (4, 8)}
RAW_EVENTS: Final = 40_000
START_S: Final = 60.0


def run() -> None:
    """Measure requests and events per second, and the time of an answer, side by side with the references."""
    events = _events(20_000)
    bodies = {
        "single": [msgspec.json.encode(event) for event in events],
        "batch": [
            msgspec.json.encode({"events": events[start : start + BATCH]}) for start in range(0, len(events), BATCH)
        ],
    }
    with services() as settings:
        raw = _raw_rate(settings, events)
        print(f"front door: kafka-python's own producer, {raw:.0f} events/s", flush=True)
        echo = [sys.executable, "-m", "benchmarks.echo"]
        with _serving(settings) as port, _process(echo, os.environ, as_argument=True) as echo_port:
            posted, echoed = _measure({"front door": port, "echo": echo_port}, bodies)
    record("front_door", {"events": _shown(posted), "echo": _shown(echoed), **_ratios(posted, echoed, raw)})


def _events(count: int) -> list[dict[str, Any]]:
    """Return interactions as a web page posts them; the server makes ids and times."""
    rng = random.Random(0)  # noqa: S311  # the same events each time
    return [
        {
            "user_id": f"u{rng.randrange(20_000)}",
            "item_id": f"i{rng.randrange(10_000)}",
            "action": "view",
            "value": 1.0,
            "context": {"page": "home", "device": "tv"},
        }
        for _ in range(count)
    ]


def _measure(ports: Mapping[str, int], bodies: Mapping[str, list[bytes]]) -> list[dict[tuple[str, int], Load]]:
    """Return the loads of each server, taken in turns, so that whatever else the machine does falls on all of them."""
    found: dict[str, dict[tuple[str, int], Load]] = {name: {} for name in ports}
    for kind, connections in ((kind, size) for kind, sizes in CONNECTIONS.items() for size in sizes):
        for name, port in ports.items():
            load = load_from_a_process(port, bodies[kind], path=PATH, connections=connections, seconds=SECONDS)
            found[name][kind, connections] = load
            rate = f"{load.requests_per_s:.0f} requests/s, p50 {load.p50_ms:.1f} ms, p99 {load.p99_ms:.1f} ms"
            print(f"{name}: {kind}, {connections} connections: {rate}, {load.failed} failed", flush=True)
    return list(found.values())


def _raw_rate(settings: Settings, events: list[dict[str, Any]]) -> float:
    """Return the events per second of `KafkaProducer.send`, one after the other, all acknowledged at the end."""
    now = datetime.now(UTC)
    numbered = (events[n % len(events)] for n in range(RAW_EVENTS))
    messages = [message_of(stamp_event(e, now=now, event_id=f"raw-{n}")) for n, e in enumerate(numbered)]
    producer = EventProducer(settings)
    try:
        wait_all([producer.send_bytes(*messages[0])], time.monotonic() + 30)
        started = time.perf_counter()
        wait_all([producer.send_bytes(*message) for message in messages], time.monotonic() + 60)
        return RAW_EVENTS / (time.perf_counter() - started)
    finally:
        producer.close()


@contextmanager
def _serving(settings: Settings) -> Iterator[int]:
    """Yield the port of the API, which has no model: taking events needs none."""
    nowhere = {"MARQUEE_MLFLOW_TRACKING_URI": f"http://{LOOPBACK}:1"}
    with _process([sys.executable, "-m", "serving"], {**environment(settings), **nowhere}) as port:
        yield port


@contextmanager
def _process(command: list[str], variables: Mapping[str, str], *, as_argument: bool = False) -> Iterator[int]:
    """Yield the port of a server process that answers."""
    port = free_port()
    with subprocess.Popen(
        [*command, str(port)] if as_argument else command,
        env={**variables, "MARQUEE_API_HOST": LOOPBACK, "MARQUEE_API_PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _wait(port)
            yield port
        finally:
            process.terminate()


def _wait(port: int) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            httpx.get(f"http://{LOOPBACK}:{port}/health/live")
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _shown(loads: Mapping[tuple[str, int], Load]) -> list[dict[str, Any]]:
    return [
        {
            "events_a_request": 1 if kind == "single" else BATCH,
            "connections": connections,
            "events_per_s": round(load.requests_per_s * (1 if kind == "single" else BATCH)),
            **{name: round(value, 2) for name, value in asdict(load).items()},
        }
        for (kind, connections), load in loads.items()
    ]


def _ratios(
    posted: Mapping[tuple[str, int], Load], echoed: Mapping[tuple[str, int], Load], raw: float
) -> dict[str, float]:
    """Return the best rates against those of the references."""

    def best(loads: Mapping[tuple[str, int], Load], kind: str) -> float:
        return max(load.requests_per_s for (which, _), load in loads.items() if which == kind)

    single, batch = best(posted, "single"), best(posted, "batch")
    return {
        "kafka_python_events_per_s": round(raw),
        "single_to_echo": round(single / best(echoed, "single"), 3),
        "batch_to_echo": round(batch / best(echoed, "batch"), 3),
        "batch_to_kafka_python": round(batch * BATCH / raw, 3),
    }
