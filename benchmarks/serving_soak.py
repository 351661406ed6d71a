"""A soak of the server: lists at a steady rate for minutes or an hour while events, items and versions change.

`python -m benchmarks.serving_soak [MINUTES]`; asks whether memory and latency stay where they are, and that no request
fails. Landing runs, MLflow is real, and a version is promoted every few seconds.
"""

import itertools
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import matplotlib as mpl
import msgspec
import numpy as np
import psutil
from scipy import stats

from benchmarks.bundles import write_made_bundle
from benchmarks.fault_matrix import WORDS
from benchmarks.http_load import post
from benchmarks.open_loop import OK, Floats, OpenLoop, Shots, get, poisson
from benchmarks.record import RESULTS, record
from benchmarks.services import start_features
from benchmarks.serving_rig import ITEMS, USERS, ServingRig, serving_rig, wait_until
from features.contracts.errors import MarqueeError
from tests.support.serving import TOKEN
from training.bundle.versions import RegisteredVersion

mpl.use("Agg")
import matplotlib.pyplot as plt  # after the backend

MINUTES: Final = 5.0
LISTS_PER_S: Final = 40.0
EVENTS_PER_S: Final = 10.0
CHANGE_EVERY_S: Final = 0.5
SWAP_EVERY_S: Final = 20.0
LOOK_EVERY_S: Final = 2.0
WINDOW_S: Final = 10.0
VERSIONS: Final = 3
WORKERS: Final = 2
WARM_UP: Final = 0.2
"""Share of the time that does not count for slopes: caches fill, the first swaps leave their mark."""
LEAST_WARM_UP_S: Final = 120.0
"""So long at least, but half of the time at most: the first four or five swaps raise the level."""
ACCEPTED: Final = 202
CONFIDENCE: Final = 0.95
MOST_MEMORY: Final = 0.1
MOST_LATENCY: Final = 0.5
"""By which share of its level memory, and median latency, may have grown at the end, at the least that is likely."""
MIB: Final = 2**20


class SoakError(MarqueeError):
    """Requests failed, or memory or latency grew."""


@dataclass
class Changes:
    """What goes on beside the lists, in a thread each: items that change, versions that are promoted, memory.

    Attributes
    ----------
    versions
        What is promoted in turn; each was served before.
    over
        Set when they are to end.
    swapped_s
        Moments of the promotions, by `time.monotonic`.
    changes
        How many items changed.
    memory
        Moments by `time.monotonic`, and bytes that the server's processes have to themselves.
    errors
        What went wrong in a thread.
    """

    rig: ServingRig
    versions: Sequence[RegisteredVersion]
    over: threading.Event = field(default_factory=threading.Event)
    swapped_s: list[float] = field(default_factory=list)
    changes: int = 0
    memory: list[tuple[float, int]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def start(self) -> list[threading.Thread]:
        """Return the threads, running."""
        threads = [threading.Thread(target=self._run, args=(work,)) for work in (self._swap, self._change, self._look)]
        for thread in threads:
            thread.start()
        return threads

    def _run(self, work: Any) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # of a thread: told at the end
            self.errors.append(repr(error))

    def _swap(self) -> None:
        for version in itertools.cycle(self.versions):
            if self.over.wait(SWAP_EVERY_S):
                return
            self.rig.promote(version)
            self.swapped_s.append(time.monotonic())

    def _change(self) -> None:
        """Hide items and show them again, rename them, and add new ones."""
        for number in itertools.count():
            if self.over.wait(CHANGE_EVERY_S):
                return
            item = number % (ITEMS + 100)
            body = {"item_id": f"i{item}", "title": f"Item {item}, version {number}", "hidden": number % 3 == 0}
            answer = self.rig.api.client.post("/api/v1/items", json=body, headers={"Authorization": f"Bearer {TOKEN}"})
            answer.raise_for_status()
            self.changes += 1

    def _look(self) -> None:
        while not self.over.wait(LOOK_EVERY_S):
            self.memory.append((time.monotonic(), _own_bytes(self.rig.server)))


def run(minutes: float = MINUTES) -> None:
    """Soak, print what was found, keep it, and draw it.

    Raises
    ------
    SoakError
        If a request failed, or memory or latency grew by more than `MOST_MEMORY` and `MOST_LATENCY` say.
    """
    with serving_rig() as rig:
        rig.restart("serving", "--workers", str(WORKERS))
        landing = start_features(rig.settings, ["land"])
        try:
            lists, events, changes = _soak(rig, minutes * 60)
        finally:
            landing.terminate()
            landing.wait()
        served = rig.info()["version"]
    found = figures(lists, events, changes) | {"minutes": minutes, "workers": WORKERS, "last_version": served}
    print(f"serving soak: {found}", flush=True)
    record("serving_soak", found)
    draw(lists, changes)
    faults = faults_of(found)
    if faults:
        raise SoakError("; ".join(faults))


def _soak(rig: ServingRig, seconds: float) -> tuple[Shots, Shots, Changes]:
    changes = Changes(rig, _served_once(rig))
    users = [get(f"/api/v1/recommend/u{number}") for number in range(USERS)]
    lists = OpenLoop(rig.api.port, users, poisson(LISTS_PER_S, seconds), patterns=WORDS)
    events = OpenLoop(rig.api.port, _events(), poisson(EVENTS_PER_S, seconds, seed=1))
    threads = changes.start()
    try:
        return lists.result(), events.result(), changes
    finally:
        changes.over.set()
        for thread in threads:
            thread.join()
        lists.end()
        events.end()


def _served_once(rig: ServingRig) -> list[RegisteredVersion]:
    """Return versions, each of which was served for a moment: what a first swap takes is no growth."""
    writers = [partial(write_made_bundle, seed=number, n_items=ITEMS) for number in range(VERSIONS)]
    made = [rig.publish(writer) for writer in writers]
    for version in made:
        rig.promote(version)
        wait_until(partial(_is_served, rig, version), f"version {version.version} is served")
    return made


def _is_served(rig: ServingRig, version: RegisteredVersion) -> bool:
    return rig.api.serve(version.version) == len(rig.api.workers())


def _events() -> list[bytes]:
    """Return acts of the users who are asked for lists, so that their histories grow."""
    rng = np.random.default_rng(0)
    chosen = zip(rng.integers(USERS, size=2_000), rng.integers(ITEMS, size=2_000), strict=True)
    bodies = [{"user_id": f"u{user}", "item_id": f"i{item}", "action": "like"} for user, item in chosen]
    return [post("/api/v1/events", msgspec.json.encode(body)) for body in bodies]


def figures(lists: Shots, events: Shots, changes: Changes) -> dict[str, Any]:
    """Return what a soak found."""
    at_s, p50_ms, p99_ms = windows(lists)
    memory_s = np.array([moment - lists.began_s for moment, _ in changes.memory])
    memory_mib = np.array([size / MIB for _, size in changes.memory])
    degraded = sum(words[0] == "true" for words in lists.words)
    return {
        "lists": {**lists.summary(), "degraded": degraded, "versions": len({words[2] for words in lists.words})},
        "events": events.summary(status=ACCEPTED),
        "swaps": len(changes.swapped_s),
        "item_changes": changes.changes,
        "errors": changes.errors,
        "memory_mib": trend(memory_s, memory_mib),
        "p50_ms": trend(at_s, p50_ms),
        "p99_ms": trend(at_s, p99_ms),
    }


def windows(lists: Shots) -> tuple[Floats, Floats, Floats]:
    """Return the middle of each window of `WINDOW_S`, in seconds, and the median and p99 of its answers in ms."""
    number = (lists.planned_s / WINDOW_S).astype(int)
    full = [window for window in range(int(number.max()) + 1) if (number == window).sum() > 1]
    took_ms = [lists.took_s[number == window] * 1000 for window in full]
    middle = (np.array(full) + 0.5) * WINDOW_S
    return middle, np.array([np.median(one) for one in took_ms]), np.array([np.quantile(one, 0.99) for one in took_ms])


def trend(at_s: Floats, values: Floats) -> dict[str, float]:
    """Return level and slope per hour of what was measured over time, its warm-up left out, with an interval.

    Returns
    -------
    `level`, `first`, `last` (medians of all, of the first and of the last fifth), `per_hour`, `low`, `high`, and
    `grown_at_least`: by which share of the level it has grown in this time at the lower end of the interval.
    """
    counted = at_s >= min(max(at_s.max() * WARM_UP, LEAST_WARM_UP_S), at_s.max() / 2)
    at_s, values = at_s[counted], values[counted]
    fit = stats.linregress(at_s / 3600, values)
    margin = stats.t.ppf((1 + CONFIDENCE) / 2, max(len(values) - 2, 1)) * fit.stderr
    level, fifth = float(np.median(values)), max(len(values) // 5, 1)
    grown = (fit.slope - margin) * (at_s.max() - at_s.min()) / 3600 / level
    found = {
        "level": level,
        "first": np.median(values[:fifth]),
        "last": np.median(values[-fifth:]),
        "per_hour": fit.slope,
        "low": fit.slope - margin,
        "high": fit.slope + margin,
        "grown_at_least": grown,
    }
    return {name: round(float(value), 3) for name, value in found.items()}


def faults_of(found: dict[str, Any]) -> list[str]:
    """Return what must not be, in words."""
    failed = {status: n for status, n in found["lists"]["by_status"].items() if status != str(OK)}
    lost = {status: n for status, n in found["events"]["by_status"].items() if status != str(ACCEPTED)}
    said = [f"lists that failed, by status: {failed}"] if failed else []
    said += [f"events that were not taken, by status: {lost}"] if lost else []
    said += [f"beside the lists: {error}" for error in found["errors"]]
    for name, most in (("memory_mib", MOST_MEMORY), ("p50_ms", MOST_LATENCY)):
        if found[name]["grown_at_least"] > most:
            said.append(f"{name} grew: {found[name]}")
    return said


def _own_bytes(pid: int) -> int:
    """Return the memory that a server and its workers share with nobody, in bytes.

    Their own children, in which new bundles are opened first, live for a second or two: they are not what may grow.
    """
    main = psutil.Process(pid)
    return sum(process.memory_full_info().uss for process in [main, *main.children()])


def draw(lists: Shots, changes: Changes) -> None:
    """Draw latency and memory over time, with the promotions."""
    at_s, p50_ms, p99_ms = windows(lists)
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained")
    upper.plot(at_s / 60, p50_ms, label="p50")
    upper.plot(at_s / 60, p99_ms, label="p99")
    upper.set(ylabel=f"ms, windows of {WINDOW_S:g} s", ylim=0)
    upper.legend(fontsize=8, frameon=False)
    moments = [(moment - lists.began_s) / 60 for moment, _ in changes.memory]
    lower.plot(moments, [size / MIB for _, size in changes.memory])
    lower.set(ylabel="MiB of the server's own", xlabel="minutes; dotted: a version was promoted", ylim=0)
    for panel in (upper, lower):
        for moment in changes.swapped_s:
            panel.axvline((moment - lists.began_s) / 60, color="#bbbbbb", linestyle=":", linewidth=0.7)
    figure.savefig(RESULTS / "serving_soak.png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    run(float(sys.argv[1]) if sys.argv[1:] else MINUTES)
