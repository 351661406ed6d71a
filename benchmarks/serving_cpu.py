"""Processor time of a list and of a refusal, on the real server: of this checkout, and of others beside it in turns.

``python -m benchmarks.serving_cpu [another checkout ...]``. Time of day depends on what else a machine does; what a
process itself takes of its processors, user and system, depends on it far less.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import httpx
import numpy as np
import psutil

from benchmarks.bundles import bundle_of, serve_from_disk
from benchmarks.filling import fill, made_up_histories
from benchmarks.http_load import load_of
from benchmarks.open_loop import get
from benchmarks.record import ROOT
from benchmarks.services import environment, services
from benchmarks.serving_rig import wait_until
from features.settings import Settings
from ops.local.ports import LOOPBACK, free_port
from tests.support.serving import NOWHERE

ITEMS: Final = 50_000
USERS: Final = 20_000
EVENTS_PER_USER: Final = 50
ROUNDS: Final = 5
ROUND_S: Final = 4.0
CROWD: Final = 64
BUNDLE_VARIABLE: Final = "MARQUEE_BENCH_BUNDLE"
"""Folder of a bundle that is at hand; left out, one is fitted."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs, and the users that it was not asked for yet."""

    checkout: Path
    process: psutil.Process
    port: int
    numbers: Iterator[int]

    def requests(self, size: int) -> list[bytes]:
        """Return requests for lists of such users."""
        return [get(f"/api/v1/recommend/{next(self.numbers) * 7_919 % USERS}") for _ in range(size)]

    def cpu_ms(self) -> tuple[float, float]:
        """Return processor time of a list and its median time, in milliseconds, one request at a time."""
        before, made = self.process.cpu_times(), self._made()
        load = load_of(self.port, self.requests(2_000), connections=1, seconds=ROUND_S)
        after = self.process.cpu_times()
        spent_s = after.user + after.system - before.user - before.system
        return spent_s * 1000 / (self._made() - made), load.p50_ms

    def refusal_us(self, list_ms: float) -> float:
        """Return processor time of a refusal in microseconds, where a list takes so many milliseconds.

        More connections than lists may be under way, each of which asks again at once: most are refused.
        """
        before, made, refused = self.process.cpu_times(), self._made(), self._refused()
        load_of(self.port, self.requests(2_000), connections=CROWD, seconds=ROUND_S)
        after = self.process.cpu_times()
        spent_s = after.user + after.system - before.user - before.system
        return (spent_s - (self._made() - made) * list_ms / 1000) / (self._refused() - refused) * 1e6

    def _made(self) -> int:
        return self._count("marquee_recommendations_total{")

    def _refused(self) -> int:
        return self._count("marquee_requests_shed_total{")

    def _count(self, head: str) -> int:
        lines = httpx.get(f"http://{LOOPBACK}:{self.port}/metrics").text.splitlines()
        return sum(round(float(line.rsplit(" ", 1)[1])) for line in lines if line.startswith(head))


def run(others: Sequence[str] = ()) -> None:
    """Print the processor time of a list for this checkout and for others."""
    given = os.environ.get(BUNDLE_VARIABLE)
    bundle = bundle_of(ITEMS) if given is None else Path(given)
    with services() as settings, ExitStack() as running:
        until_us = time.time_ns() // 1000
        histories = made_up_histories(USERS, ITEMS, USERS * EVENTS_PER_USER, until_us)
        fill(settings, histories, [str(number) for number in range(ITEMS)])
        checkouts = [ROOT, *map(Path, others)]
        servers = [running.enter_context(_served(settings, bundle, checkout)) for checkout in checkouts]
        rounds = [[_round(server) for server in servers] for _ in range(ROUNDS)]
    for server, found in zip(servers, np.array(rounds).swapaxes(0, 1), strict=True):
        cpu_ms, p50_ms, refusal_us = np.median(found, axis=0)
        print(
            f"{server.checkout}: {cpu_ms:.2f} ms of processor a list, {refusal_us:.0f} us a refusal, p50 {p50_ms:.2f}"
        )
        print(found.round(2).tolist())


def _round(server: Served) -> tuple[float, float, float]:
    cpu_ms, p50_ms = server.cpu_ms()
    return cpu_ms, p50_ms, server.refusal_us(cpu_ms)


@contextmanager
def _served(settings: Settings, bundle: Path, checkout: Path) -> Iterator[Served]:
    with TemporaryDirectory(prefix="marquee-bench-api-") as name, httpx.Client(timeout=20) as client:
        folder, port = Path(name), free_port()
        serve_from_disk(bundle, folder / "cache")
        variables = {
            **environment(settings),
            "MARQUEE_MLFLOW_TRACKING_URI": NOWHERE,
            "MARQUEE_CACHE_DIR": str(folder / "cache"),
            "MARQUEE_API_PORT": str(port),
            "MARQUEE_API_HOST": LOOPBACK,
        }
        command = [sys.executable, "-m", "serving"]
        with (
            (folder / "api.log").open("ab") as log,
            subprocess.Popen(command, env=variables, cwd=checkout, stdout=log, stderr=log) as process,
        ):
            try:
                wait_until(lambda: _is_well(client, port), "lists are as good as they can be")
                for number in range(100):
                    client.get(f"http://{LOOPBACK}:{port}/api/v1/recommend/{number}")
                yield Served(checkout, psutil.Process(process.pid), port, count(1_000))
            finally:
                process.terminate()


def _is_well(client: httpx.Client, port: int) -> bool:
    try:
        answer = client.get(f"http://{LOOPBACK}:{port}/api/v1/recommend/0")
    except httpx.TransportError:
        return False
    return answer.status_code == httpx.codes.OK and not answer.json()["degraded"]


if __name__ == "__main__":
    run(sys.argv[1:])
