"""Memory of a server over many swaps: ``python -m benchmarks.serving_swaps [SWAPS] [another checkout ...]``.

Versions are promoted in MLflow, one after the other, each once the one before is served and has answered lists. Servers
of other checkouts follow the same alias at the same time, so that what differs between them is their code.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import psutil

from benchmarks.bundles import write_made_bundle
from benchmarks.record import ROOT
from benchmarks.serving_rig import ITEMS, USERS, ServingRig, serving_rig, wait_until
from ops.local.ports import free_port
from tests.support.processes import memory_of
from tests.support.serving import Api
from training.bundle.versions import RegisteredVersion

SWAPS: Final = 50
SHOWN: Final = (1, 2, 5, 10, 25, 50, 100, 200)
VERSIONS: Final = 3
"""One more than a server keeps on disk: each is fetched again when its turn comes."""
WORKERS: Final = 2
LISTS: Final = 60
"""That are asked for between two swaps."""


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
                    print(f"swap {swap:3}: {_told(server)}, {server.checkout}", flush=True)


def _swap(rig: ServingRig, servers: Sequence[Api], version: RegisteredVersion) -> None:
    rig.promote(version)
    for server in servers:
        _wait(server, version.version)
        for number in range(LISTS):
            # A connection of its own, so that workers take turns.
            answer = httpx.get(f"{server.client.base_url}/api/v1/recommend/u{number % USERS}", timeout=20)
            answer.raise_for_status()


def _wait(server: Api, version: str) -> None:
    wait_until(lambda: server.serve(version) == WORKERS, f"{server.checkout} serves version {version}")


def _told(server: Api) -> str:
    """Return in words what parent and workers have written to and share with nobody, and how many threads they have.

    Pages of files do not count: whether a library's are shared depends on who else runs.
    """
    written = sum(memory_of(pid)["Private_Dirty"] for pid in server.processes())
    threads = sum(psutil.Process(pid).num_threads() for pid in server.processes())
    return f"{written:.0f} MiB, {threads} threads"


@contextmanager
def _served(rig: ServingRig, number: int, checkout: Path) -> Iterator[Api]:
    """Yield a server by the code of a checkout, with a cache of its own, once it serves the first version."""
    folder = rig.folder / f"checkout-{number}"
    folder.mkdir()
    own = {"MARQUEE_CACHE_DIR": str(folder / "cache"), "MARQUEE_WORK_DIR": str(folder / "work")}
    command = ("serving", "--workers", str(WORKERS))
    api = Api(free_port(), {**rig.api.settings, **own}, folder / "api.log", command, checkout)
    try:
        api.start()
        _wait(api, "1")
        yield api
    finally:
        api.end()


if __name__ == "__main__":
    run(int(sys.argv[1]) if sys.argv[1:] else SWAPS, sys.argv[2:])
