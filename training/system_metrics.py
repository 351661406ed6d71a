"""What a step took of the machine, looked at every few seconds: kept with the run's files, and published with it.

Training must not wait for MLflow, so nothing is sent while a step works.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final

import msgspec

from training.steps.state import STEPS, RunFolder, write_atomically

FOLDER: Final = "system"
EVERY_S: Final = 2.0
MOST: Final = 400
"""Samples that are published of a run: more than a picture can show."""


class SystemSample(msgspec.Struct, frozen=True):
    """The machine at one moment: milliseconds since 1970 UTC, and numbers by MLflow's names of system metrics."""

    at_ms: int
    seen: dict[str, float]


@contextmanager
def watched(run: RunFolder, step: str) -> Iterator[None]:
    """Look at the machine while a step works; without psutil, do not."""
    if find_spec("psutil") is None:
        yield
        return
    samples: list[SystemSample] = []
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(samples, over), name="system metrics", daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()
        (run.path / FOLDER).mkdir(exist_ok=True)
        write_atomically(run.path / FOLDER / f"{step}.json", msgspec.json.encode(samples))


def samples_of(run: RunFolder) -> list[SystemSample]:
    """Return what was seen in all steps of a run, in their order, at most `MOST` of it."""
    found = []
    for step in STEPS:
        file = run.path / FOLDER / f"{step}.json"
        if file.is_file():
            found += msgspec.json.decode(file.read_bytes(), type=list[SystemSample])
    return found[:: max(-(-len(found) // MOST), 1)]


def _watch(samples: list[SystemSample], over: threading.Event) -> None:
    import psutil  # noqa: PLC0415  # loaded by whoever watches

    process = psutil.Process()
    psutil.cpu_percent()  # the first answer is of no time at all
    while True:
        ended = over.wait(EVERY_S)
        memory = psutil.virtual_memory()
        seen = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / 1e6,
            "system_memory_usage_percentage": memory.percent,
            "process_memory_megabytes": process.memory_info().rss / 1e6,
        }
        samples.append(SystemSample(time.time_ns() // 1_000_000, seen))
        if ended:
            return
