"""Memory of a server over many swaps: ``python -m benchmarks.serving_swaps [SWAPS] [another checkout ...]``.

Versions are promoted in MLflow, one after the other, each once the one before is served and has answered lists. Servers
of other checkouts follow the same alias at the same time, so that what differs between them is their code.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import psutil

from benchmarks.bundles import write_made_bundle
from benchmarks.record import ROOT
from benchmarks.serving_rig import ITEMS, USERS, ServingRig, serving_rig, wait_until
from ops.local.ports import LOOPBACK, free_ports
from tests.support.processes import uncounted
from training.bundle.versions import RegisteredVersion

SWAPS: Final = 50
SHOWN: Final = (1, 2, 5, 10, 25, 50, 100, 200)
VERSIONS: Final = 3
"""One more than a server keeps on disk: each is fetched again when its turn comes."""
WORKERS: Final = 2
LISTS: Final = 60
"""That are asked for between two swaps."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that follows the alias, by the code of a checkout."""

    checkout: Path
    process: psutil.Process
    client: httpx.Client

    def serves(self, version: RegisteredVersion) -> bool:
        """Return whether all workers serve a version."""
        try:
            text = self._get("/metrics")
        except httpx.TransportError:
            return False
        serving = [line for line in text.splitlines() if f'version="{version.version}"' in line]
        return any(line.startswith("marquee_bundle_info{") and line.endswith(f" {WORKERS}.0") for line in serving)

    def use(self) -> None:
        """Ask for lists."""
        for number in range(LISTS):
            self._get(f"/api/v1/recommend/u{number % USERS}")

    def written_mib(self) -> float:
        """Return the memory that parent and workers wrote to and share with nobody, in MiB.

        Pages of files do not count: whether a library's are shared depends on who else runs.
        """
        rollups = (Path(f"/proc/{one.pid}/smaps_rollup").read_text(encoding="ascii") for one in self._processes())
        return (
            sum(int(kib) for text in rollups for kib in re.findall(r"^Private_Dirty: +(\d+) kB$", text, re.MULTILINE))
            / 1024
        )

    def threads(self) -> int:
        """Return how many threads they have."""
        return sum(process.num_threads() for process in self._processes())

    def _processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children()]

    def _get(self, path: str) -> str:
        answer = self.client.get(path)
        answer.raise_for_status()
        return answer.text


def run(swaps: int = SWAPS, others: Sequence[str] = ()) -> None:
    """Print what each server has written to and keeps to itself after some of the swaps."""
    with serving_rig() as rig, ExitStack() as running:
        rig.api.stop()
        checkouts = [ROOT, *map(Path, others)]
        servers = [running.enter_context(_served(rig, number, one)) for number, one in enumerate(checkouts)]
        writers = [partial(write_made_bundle, seed=number, n_items=ITEMS) for number in range(1, VERSIONS + 1)]
        versions = [rig.publish(writer) for writer in writers]
        for swap in range(1, swaps + 1):
            _swap(rig, servers, versions[swap % VERSIONS])
            if swap in SHOWN or swap == swaps:
                for server in servers:
                    told = f"{server.written_mib():.0f} MiB, {server.threads()} threads"
                    print(f"swap {swap:3}: {told}, {server.checkout}", flush=True)


def _swap(rig: ServingRig, servers: Sequence[Server], version: RegisteredVersion) -> None:
    rig.promote(version)
    for server in servers:
        wait_until(partial(server.serves, version), f"{server.checkout} serves version {version.version}")
        server.use()


@contextmanager
def _served(rig: ServingRig, number: int, checkout: Path) -> Iterator[Server]:
    folder, port = rig.folder / f"checkout-{number}", free_ports().api
    folder.mkdir()
    variables = {
        **uncounted(),
        **rig.api.settings,
        "MARQUEE_API_HOST": LOOPBACK,
        "MARQUEE_API_PORT": str(port),
        "MARQUEE_CACHE_DIR": str(folder / "cache"),
        "MARQUEE_WORK_DIR": str(folder / "work"),
    }
    command = [sys.executable, "-m", "serving", "--workers", str(WORKERS)]
    # Each request on a connection of its own, so that workers take turns.
    limits = httpx.Limits(max_keepalive_connections=0)
    with (
        httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=20, limits=limits) as client,
        (folder / "api.log").open("ab") as log,
        subprocess.Popen(command, env=variables, cwd=checkout, stdout=log, stderr=log) as process,
    ):
        try:
            server = Server(checkout, psutil.Process(process.pid), client)
            wait_until(partial(server.serves, RegisteredVersion("1", None, "")), f"{checkout} serves")
            yield server
        finally:
            process.terminate()


if __name__ == "__main__":
    run(int(sys.argv[1]) if sys.argv[1:] else SWAPS, sys.argv[2:])
