"""The fault matrix: requests at a steady rate while one thing after another behind the server breaks, and is mended.

For each fault: how many requests got a list, how long they took, what the answers said, and how long after its end all
was normal again. Events are posted meanwhile, too: without Kafka they cannot be taken, and must be refused quickly.
"""

import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from benchmarks.http_load import post
from benchmarks.open_loop import OK, OpenLoop, Shots, even, get, milliseconds
from benchmarks.record import record
from benchmarks.serving_faults import FAULTS, Fault
from benchmarks.serving_rig import DEADLINE_MS, ITEMS, USERS, ServingRig, knows_options, serving_rig, wait_until

RATE: Final = 40.0
"""Lists a second: what a server answers easily, so that the fault is what is measured."""
EVENTS_RATE: Final = 5.0
BEFORE_S: Final = 2.0
AFTER_S: Final = 2.0
LONGEST_S: Final = 300.0
TOLERANCE_MS: Final = 20
WORDS: Final = ('"degraded":(true|false)', '"fallback_reason":"([a-z_]+)"', '"model_version":"(.*?)"')
NORMAL: Final = ("false", "")


def run(names: Sequence[str] = ()) -> None:
    """Cause every fault, or those named, and record what became of requests."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    figures: dict[str, Any] = {}
    with serving_rig() as rig:
        for name in names or FAULTS:
            fault = FAULTS[name]
            if not knows_options([word for word in fault.command if word.startswith("--")]):
                print(f"fault matrix: {name}: skipped, `python -m serving` has no --workers yet", flush=True)
                continue
            if rig.api.command != fault.command:
                rig.restart(*fault.command)
            figures[name] = measure(rig, fault)
            print(f"fault matrix: {name}: {figures[name]}", flush=True)
    if not names:
        record("fault_matrix", {"deadline_ms": DEADLINE_MS, "lists_per_s": RATE, "items": ITEMS, "faults": figures})


def measure(rig: ServingRig, fault: Fault) -> dict[str, Any]:
    """Return what became of lists and events since a fault began, and of those before, once all is normal again."""
    lists = OpenLoop(rig.api.port, _lists(), even(RATE, LONGEST_S), patterns=WORDS)
    events = OpenLoop(rig.api.port, _events(), even(EVENTS_RATE, LONGEST_S))
    try:
        lists.wait_until(BEFORE_S)
        began_s = time.monotonic()
        with fault.cause(rig):
            time.sleep(fault.lasts_s)
        ended_s = time.monotonic()
        well_s = wait_until(lambda: rig.health().get("status") == "ok", "the server says that all is well")
        time.sleep(AFTER_S)
        of_lists, of_events = lists.stop(), events.stop()
    finally:
        lists.end()
        events.end()
    return figures_of(of_lists, of_events, began_s, ended_s) | {"health_ok_after_s": round(well_s - ended_s, 1)}


def figures_of(lists: Shots, events: Shots, began_s: float, ended_s: float) -> dict[str, Any]:
    """Return the figures of one fault, which lasted from one moment to another by `time.monotonic`."""
    before, during = (lists.of(some) for some in _around(lists, began_s))
    taken = events.of(_around(events, began_s)[1])
    took_ms = during.took_s * 1000
    return {
        "requests": len(during),
        "succeeded": round(float((during.status == OK).mean()), 4),
        "p50_ms": milliseconds(took_ms, 50),
        "p99_ms": milliseconds(took_ms, 99),
        "max_ms": milliseconds(took_ms, 100),
        "in_time": round(float((took_ms <= DEADLINE_MS + TOLERANCE_MS).mean()), 4),
        "before": {"p50_ms": milliseconds(before.took_s * 1000, 50), "p99_ms": milliseconds(before.took_s * 1000, 99)},
        "said": _said(during),
        "versions": dict(Counter(words[2] for words in during.words)),
        "statuses": _counted(during),
        "normal_after_s": round(max(_last_odd_s(during) - ended_s, 0.0), 1),
        "events": {"statuses": _counted(taken), "p99_ms": milliseconds(taken.took_s * 1000, 99)},
    }


def _around(shots: Shots, began_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which requests were to leave before a moment, and which from then on."""
    since = shots.began_s + shots.planned_s >= began_s
    return ~since, since


def _said(shots: Shots) -> dict[str, int]:
    """Return how many answers said what: `as ever`, or the reason."""
    said: Counter[str] = Counter()
    for status, words in zip(shots.status.tolist(), shots.words, strict=True):
        normal = "as ever" if words[:2] == NORMAL else f"{words[1]}{', degraded' if words[0] == 'true' else ''}"
        said[normal if status == OK else str(status)] += 1
    return dict(said.most_common())


def _counted(shots: Shots) -> dict[str, int]:
    return {str(status): count for status, count in sorted(Counter(shots.status.tolist()).items())}


def _last_odd_s(shots: Shots) -> float:
    """Return when the last request was to leave whose answer was not as ever; long ago where there is none."""
    odd = [status != OK or words[:2] != NORMAL for status, words in zip(shots.status, shots.words, strict=True)]
    return shots.began_s + float(shots.planned_s[np.array(odd, dtype=bool)].max(initial=-np.inf))


def _lists() -> list[bytes]:
    return [get(f"/api/v1/recommend/u{number}?k=20") for number in range(USERS)]


def _events() -> list[bytes]:
    """Return events of users who are asked for no lists: histories stay as they are, landed or not."""
    bodies = [{"user_id": f"e{number}", "item_id": f"i{number}", "action": "view"} for number in range(100)]
    return [post("/api/v1/events", msgspec.json.encode(body)) for body in bodies]


if __name__ == "__main__":
    run(sys.argv[1:])
