"""Speed of landing: from a Kafka topic to committed rows, one process, held against its bare parts in the same run."""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import psutil
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from benchmarks.record import record
from benchmarks.services import features, services, start_features
from benchmarks.streams import interactions, produce
from features.contracts.events import Interaction, decode_event
from features.db.connection import connect
from features.db.gate import enter_gate
from features.kafka import INTERACTIONS, PARTITIONS, open_consumer
from features.landing.rows import decode_records
from features.landing.write import prepare
from features.settings import Settings

EVENTS: Final = 1_000_000
SAMPLE: Final = 200_000
"""Events of the smaller runs, and of the bare parts."""
WARM_UP: Final = 20_000
BAD_SHARE: Final = 0.05
MIB: Final = 2**20


def run() -> None:
    """Measure events per second of `python -m features land`, its start left out, and of its parts alone."""
    with services() as settings:
        produce(settings, interactions(range(WARM_UP)))
        features(settings, "land", "--until-caught-up")
        start_s = statistics.median(landing(settings)[0] for _ in range(3))
        new = _rate(settings, start_s, range(WARM_UP, WARM_UP + EVENTS), "new events")
        parts = _bare_parts(settings)
        again = _rate(settings, start_s, range(WARM_UP, WARM_UP + SAMPLE), "the same again")
        first = WARM_UP + EVENTS
        bad = _rate(settings, start_s, range(first, first + SAMPLE), "5 % bad", bad_share=BAD_SHARE)
    bare = 1 / sum(1 / rate for rate in parts.values())
    figures = {
        "events": EVENTS,
        "new": new,
        "duplicates_only": again,
        "bad_5_percent": bad,
        "bare_parts_events_per_s": {name: round(rate) for name, rate in parts.items()},
        "bare_parts_one_after_the_other_events_per_s": round(bare),
        "ratios": {
            "of the bare parts": round(new["events_per_s"] / bare, 2),
            "duplicates to new": round(again["events_per_s"] / new["events_per_s"], 2),
            "5 % bad to new": round(bad["events_per_s"] / new["events_per_s"], 2),
        },
    }
    record("landing", figures)


def _rate(settings: Settings, start_s: float, numbers: range, what: str, *, bad_share: float = 0.0) -> dict[str, float]:
    print(f"landing: {len(numbers):,} events, {what}", flush=True)
    produce(settings, interactions(numbers, bad_share=bad_share))
    took_s, memory = landing(settings)
    half = len(memory) // 2
    return {
        "events_per_s": round(len(numbers) / (took_s - start_s)),
        "memory_first_half_mib": round(max(memory[:half], default=0) / MIB),
        "memory_second_half_mib": round(max(memory[half:], default=0) / MIB),
    }


def landing(settings: Settings, *options: str) -> tuple[float, Sequence[int]]:
    """Return how many seconds a landing process took to catch up, its start included, and its memory over that time."""
    started, memory = time.perf_counter(), list[int]()
    process = start_features(settings, ["land", "--until-caught-up", *options])
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            memory.append(watched.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.1)
    if process.wait() != 0:
        raise RuntimeError(f"landing ended with exit code {process.returncode}")
    return time.perf_counter() - started, memory


def _bare_parts(settings: Settings) -> dict[str, float]:
    """Return the rate of each part alone: polling, decoding, and a binary COPY into a table without any index."""
    print(f"landing: bare parts, {SAMPLE:,} events", flush=True)
    records = list[ConsumerRecord]()
    polled = _timed(lambda: records.extend(_poll(settings)))
    decoded = _timed(lambda: [decode_event(one.value) for one in records])
    return {"poll": len(records) / polled, "decode": len(records) / decoded, "copy": _copy(settings, records)}


def _timed(work: Callable[[], object]) -> float:
    gc.disable()  # the bare parts at their best
    started = time.perf_counter()
    work()
    took_s = time.perf_counter() - started
    gc.enable()
    return took_s


def _poll(settings: Settings) -> list[ConsumerRecord]:
    consumer, found = open_consumer(settings), list[ConsumerRecord]()
    try:
        consumer.assign([TopicPartition(INTERACTIONS, number) for number in range(PARTITIONS)])
        consumer.seek_to_beginning()
        while len(found) < SAMPLE:
            for some in consumer.poll(timeout_ms=200, max_records=5_000).values():
                found.extend(some)
    finally:
        consumer.close(autocommit=False)
    return found


def _copy(settings: Settings, records: Sequence[ConsumerRecord]) -> float:
    rows = decode_records([records], datetime.now(UTC), {}).rows[Interaction]
    with connect(settings, name="bench") as connection:
        prepare(connection)
        connection.execute("CREATE TABLE bare (LIKE interactions)")
        landed_at = enter_gate(connection)
        types = ("text",) * 4 + ("float8",) + ("timestamptz",) * 3 + ("int2", "text", "jsonb", "text", "int4", "int8")
        started = time.perf_counter()
        for start in range(0, len(rows), 5_000):
            with connection.cursor() as cursor, cursor.copy("COPY bare FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(types)
                for row in rows[start : start + 5_000]:
                    copy.write_row((*row[:6], landed_at, landed_at, *row[7:]))
            connection.commit()
        return len(rows) / (time.perf_counter() - started)
