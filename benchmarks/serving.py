"""Speed of lists over HTTP: the real server, 5,000,000 interactions in a real Postgres, 50,000 items, a fitted bundle.

Load makers, server and Postgres share the machine's cores. `MARQUEE_BENCH_SCALE` below 1 shrinks the data for trials.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
import matplotlib as mpl
import msgspec
import numpy as np

from benchmarks.bare_parts import BareParts, bare_parts_ms
from benchmarks.bundles import RANKER_CONFIG, bundle_of, digest_of, serve_from_disk
from benchmarks.click_to_answer import click_to_answer
from benchmarks.filling import fill, made_up_histories
from benchmarks.http_load import Load, load_of, post
from benchmarks.open_loop import OK, REFUSED, OpenLoop, Shots, get, poisson, shoot
from benchmarks.record import RESULTS, record
from benchmarks.services import environment, services, start_features
from benchmarks.serving_rig import knows_options
from features.settings import Settings
from ops.local.ports import LOOPBACK, free_port
from tests.support.serving import NOWHERE, Api
from training.bundle.bundle import Bundle
from training.bundle.ranker import Ranker
from training.bundle.read import open_bundle

mpl.use("Agg")
import matplotlib.pyplot as plt  # after the backend

ITEMS: Final = 50_000
USERS: Final = 100_000
INTERACTIONS: Final = 5_000_000
SCALE_VARIABLE: Final = "MARQUEE_BENCH_SCALE"
DEADLINE_S: Final = 0.15
TOLERANCE_S: Final = 0.02
ALONE_S: Final = 8.0
TOGETHER_S: Final = 8.0
TOGETHER: Final = 16
STEP_S: Final = 4.0
STEP_ROUNDS: Final = 5
"""All rates one after the other, so often: a virtual core is a third slower for some seconds, and a third faster."""
LOADS: Final = (0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0)
"""Rates that are offered, times the capacity."""
AGAIN: Final = 200
"""Users who are asked for again and again where nothing changes meanwhile."""
ROUNDS: Final = 3
PROBES: Final = 150


@dataclass(frozen=True, slots=True)
class Stand:
    """What is measured: a server's port, and requests of users who were not asked for before."""

    settings: Settings
    port: int
    n_users: int
    numbers: Iterator[int]

    def users(self, size: int) -> list[str]:
        """Return users in a random order, each new until all have had their turn."""
        return [str(next(self.numbers) * 7_919 % self.n_users) for _ in range(size)]

    def requests(self, size: int) -> list[bytes]:
        """Return as many requests of such users."""
        return [get(f"/api/v1/recommend/{user}") for user in self.users(size)]


def run() -> None:
    """Measure it all, record it, and draw the knee."""
    scale = float(os.environ.get(SCALE_VARIABLE, "1"))
    n_users, n_events = round(USERS * scale), round(INTERACTIONS * scale)
    bundle = bundle_of(ITEMS)
    with services() as settings:
        print(f"serving: storing {n_events:,} interactions of {n_users:,} users", flush=True)
        histories = made_up_histories(n_users, ITEMS, n_events, time.time_ns() // 1000)
        fill(settings, histories, [str(number) for number in range(ITEMS)])
        del histories
        figures: dict[str, Any] = {
            "scale": scale,
            "items": ITEMS,
            "users": n_users,
            "interactions": n_events,
            "one_worker": _one_worker(settings, bundle, n_users),
        }
        figures |= _several_workers(settings, bundle, n_users)
    record("serving", figures)
    draw(figures)


def _one_worker(settings: Settings, bundle: Path, n_users: int) -> dict[str, Any]:
    """Return one request at a time, its ratio to its bare parts, and the same users asked again."""
    with _server(settings, bundle, 1) as port:
        stand, opened = Stand(settings, port, n_users, count()), open_bundle(bundle, digest_of(bundle))
        answer = httpx.get(f"http://{LOOPBACK}:{port}/api/v1/recommend/{stand.users(1)[0]}").json()
        rounds = [_round(stand, opened, answer) for _ in range(ROUNDS)]
        alone = _median([whole for whole, _ in rounds])
        bare = _median([parts.alone for _, parts in rounds])
        in_turn = _median([parts.in_turn for _, parts in rounds])
        steps = _steps(port)
        unchanged = load_of(port, stand.requests(AGAIN), connections=1, seconds=ALONE_S)
    bare_ms, in_turn_ms = sum(bare.values()), sum(in_turn.values())
    found = {
        "ranker": _size(opened.parts.ranker),
        "alone": alone,
        "bare_parts_ms": bare,
        "bare_together_ms": round(bare_ms, 2),
        "to_bare_parts": round(alone["p50_ms"] / bare_ms, 2),
        "bare_parts_in_turn_ms": in_turn,
        "bare_in_turn_together_ms": round(in_turn_ms, 2),
        "to_bare_parts_in_turn": round(alone["p50_ms"] / in_turn_ms, 2),
        "steps_ms": steps,
        "unchanged_alone": _shown(unchanged),
    }
    print(f"serving, one worker: {found}", flush=True)
    return found


def _size(ranker: Ranker | None) -> dict[str, int]:
    return {
        "models": 0 if ranker is None else len(ranker.models),
        "trees": 0 if ranker is None else ranker.n_trees,
        "leaves": RANKER_CONFIG.leaves,
    }


def _round(stand: Stand, bundle: Bundle, answer: dict[str, Any]) -> tuple[dict[str, float], BareParts]:
    """Return a load of single requests and the bare parts, one after the other, so that both see the same machine."""
    whole = _shown(load_of(stand.port, stand.requests(4_000), connections=1, seconds=ALONE_S / ROUNDS))
    return whole, bare_parts_ms(stand.settings, bundle, stand.users(600), answer)


def _several_workers(settings: Settings, bundle: Path, n_users: int) -> dict[str, Any]:
    """Return what two workers do under load; one, where the server knows no others."""
    workers = 2 if knows_options(["--workers"]) else 1
    if workers == 1:
        print("serving: two workers skipped, `python -m serving` has no --workers yet; one is loaded", flush=True)
    with _server(settings, bundle, workers) as port:
        stand = Stand(settings, port, n_users, count(1_000_000))
        # As many at once as the server never refuses: whoever is refused comes again at once here, which costs, too.
        capacity = load_of(port, stand.requests(10_000), connections=4 * workers, seconds=TOGETHER_S)
        print(f"serving, {workers} workers, {4 * workers} connections, computed: {_shown(capacity)}", flush=True)
        computed = load_of(port, stand.requests(10_000), connections=TOGETHER, seconds=TOGETHER_S)
        print(f"serving, {workers} workers, {TOGETHER} connections, computed: {_shown(computed)}", flush=True)
        unchanged = load_of(port, stand.requests(AGAIN), connections=TOGETHER, seconds=TOGETHER_S)
        print(f"serving, {workers} workers, {TOGETHER} connections, unchanged: {_shown(unchanged)}", flush=True)
        rounds = [[_offered(stand, capacity.requests_per_s, times) for times in LOADS] for _ in range(STEP_ROUNDS)]
        knee = [_together(steps) for steps in zip(*rounds, strict=True)]
        print(f"serving, what becomes of them: {knee}", flush=True)
        clicks = _clicks(stand, capacity.requests_per_s)
    peak = max(step["goodput_per_s"] for step in knee)
    return {
        "workers": workers,
        "capacity": {"connections": 4 * workers, **_shown(capacity)},
        "together": _shown(computed),
        "unchanged_together": _shown(unchanged),
        "knee": [step | {"goodput_to_peak": round(step["goodput_per_s"] / peak, 2)} for step in knee],
        "click_to_answer": clicks,
    }


def _offered(stand: Stand, capacity: float, times: float) -> dict[str, Any]:
    """Return what becomes of requests that come at so many times the capacity, whoever is answered."""
    planned_s = poisson(capacity * times, STEP_S)
    shots = shoot(stand.port, stand.requests(len(planned_s)), planned_s)
    found = {
        "times_capacity": times,
        **shots.summary(within_s=DEADLINE_S + TOLERANCE_S),
        "accepted_in_time": round(float((_taken(shots).took_s <= DEADLINE_S + TOLERANCE_S).mean()), 4),
        "refused": shots.latencies(REFUSED),
    }
    print(f"serving, {times} x capacity: {found}", flush=True)
    return found


def _together(steps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure of the same rate in several rounds, and how many answers had each status."""
    found: dict[str, Any] = {}
    for name, first in steps[0].items():
        if name == "by_status":
            codes = sorted({code for step in steps for code in step[name]})
            found[name] = {code: sum(step[name].get(code, 0) for step in steps) for code in codes}
        elif name == "requests":
            found[name] = sum(step[name] for step in steps)
        elif isinstance(first, dict):
            found[name] = {key: _middle([step[name][key] for step in steps]) for key in first}
        else:
            found[name] = _middle([step[name] for step in steps])
    return found


def _middle(values: Sequence[float | None]) -> float | None:
    """Return the median of the values that there are, None where there are none."""
    known = [value for value in values if value is not None]
    return round(float(np.median(known)), 4) if known else None


def _taken(shots: Shots) -> Shots:
    return shots.of(shots.status == OK)


def _clicks(stand: Stand, capacity: float) -> dict[str, Any]:
    """Return the time from a click to an answer while lists and other events come at a third of the capacity."""
    bodies = [
        msgspec.json.encode({"user_id": user, "item_id": user, "action": "view"})
        for user in map(str, range(stand.n_users, stand.n_users + 1_000))
    ]
    seconds = 600.0
    landing = start_features(stand.settings, ["land"])
    loads: list[OpenLoop] = []
    try:
        loads.append(OpenLoop(stand.port, stand.requests(20_000), poisson(capacity / 3, seconds)))
        loads.append(OpenLoop(stand.port, [post("/api/v1/events", body) for body in bodies], poisson(20, seconds)))
        click_to_answer(stand.port, 3, "1")  # landing has started when these are seen
        found = click_to_answer(stand.port, PROBES, "2")
        lists, events = (load.stop() for load in loads)
    finally:
        for load in loads:
            load.end()
        landing.terminate()
        landing.wait()
    found |= {"lists": lists.summary(), "events_by_status": events.summary()["by_status"]}
    print(f"serving, click to answer: {found}", flush=True)
    return found


@contextmanager
def _server(settings: Settings, bundle: Path, workers: int) -> Iterator[int]:
    """Yield the port of a server that has a bundle."""
    with TemporaryDirectory(prefix="marquee-bench-api-") as name:
        folder, port = Path(name), free_port()
        serve_from_disk(bundle, folder / "cache")
        variables = {
            **environment(settings),
            "MARQUEE_MLFLOW_TRACKING_URI": NOWHERE,
            "MARQUEE_CACHE_DIR": str(folder / "cache"),
            "MARQUEE_DEADLINE_MS": str(round(DEADLINE_S * 1000)),
        }
        command = ("serving",) if workers == 1 else ("serving", "--workers", str(workers))
        api = Api(port, variables, folder / "api.log", command)
        try:
            api.start()
            _wait_well(api)
            yield port
        finally:
            api.end()


def _wait_well(api: Api) -> None:
    """Wait until answers are as good as they can be, and for what is compiled or computed at first use."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = api.client.get("/api/v1/recommend/0")
        if answer.status_code == httpx.codes.OK and not answer.json()["degraded"]:
            break
        time.sleep(0.2)
    for number in range(50):
        api.client.get(f"/api/v1/recommend/{number}")


def _steps(port: int) -> dict[str, float]:
    """Return the mean time of each step by the server's own metrics, in milliseconds."""
    sums, counts = dict[str, float](), dict[str, float]()
    for line in httpx.get(f"http://{LOOPBACK}:{port}/metrics").text.splitlines():
        for kind, found in (("sum", sums), ("count", counts)):
            head = f'marquee_stage_seconds_{kind}{{stage="'
            if line.startswith(head):
                step, value = line.removeprefix(head).split('"} ')
                found[step] = float(value)
    return {step: round(sums[step] / counts[step] * 1000, 3) for step in sums}


def _median(dicts: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.median([one[name] for one in dicts])), 3) for name in dicts[0]}


def _shown(load: Load) -> dict[str, float]:
    return {name: round(value, 2) for name, value in asdict(load).items()}


def draw(figures: dict[str, Any]) -> None:
    """Draw goodput and refusals, and the time of both, by what is offered."""
    knee = figures["knee"]
    offered = [step["offered_per_s"] for step in knee]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained")
    left.plot(offered, offered, color="#bbbbbb", linestyle=":", label="offered")
    left.plot(offered, [step["goodput_per_s"] for step in knee], marker="o", label="lists in time")
    refused = [step["by_status"].get(str(REFUSED), 0) / step["requests"] * step["offered_per_s"] for step in knee]
    left.plot(offered, refused, marker="o", label="503 at once")
    left.set(xlabel="requests offered a second", ylabel="a second", ylim=0)
    for name, label in (("p50_ms", "list, p50"), ("p99_ms", "list, p99")):
        right.plot(offered, [step[name] for step in knee], marker="o", label=label)
    right.plot(offered, [step["refused"]["p99_ms"] for step in knee], marker="o", label="503, p99")
    right.axhline(DEADLINE_S * 1000, color="#bbbbbb", linestyle=":", label="deadline")
    right.set(xlabel="requests offered a second", ylabel="ms from the planned time", ylim=0)
    for panel in (left, right):
        panel.legend(fontsize=8, frameon=False)
    figure.suptitle(f"open loop, {figures['workers']} worker(s), scale {figures['scale']:g}", fontsize=10)
    figure.savefig(RESULTS / "serving_knee.png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    run()
