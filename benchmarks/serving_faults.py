"""What the fault matrix does to the servers around the API, and to its bundles and clock: each caused for real."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import msgspec
import psutil

from benchmarks.bundles import write_made_bundle
from benchmarks.serving_rig import ITEMS, ServingRig, wait_until
from ops.local.ports import LOOPBACK
from tests.support.proxy import TOXICS, Toxic
from tests.support.tiny_bundle import write_empty_bundle
from training.bundle.manifest import manifest_digest
from training.bundle.versions import RegisteredVersion

SERVING: Final = "marquee-serving"
"""How the API's sessions are named in Postgres."""
HALF_A_SECOND: Final = Toxic(latency_s=0.25)
"""On each direction: every query takes 500 ms longer."""
LASTS_S: Final = 4.0
LOOKS_S: Final = 6.0
"""In which a server looks at its alias at least twice."""
CLOCKED: Final = "benchmarks.clocked_server"

Cause = Callable[[ServingRig], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes
    ----------
    cause
        Holds it for as long as its block runs; when that is left, the fault is over.
    lasts_s
        How long it is held.
    command
        The server that it is done to.
    """

    cause: Cause
    lasts_s: float = LASTS_S
    command: tuple[str, ...] = ("serving",)


@contextmanager
def _stopped(rig: ServingRig, name: str) -> Iterator[None]:
    rig.services.stop(name)
    try:
        yield
    finally:
        rig.services.start(name)


@contextmanager
def _kafka_stopped(rig: ServingRig) -> Iterator[None]:
    """Stop the broker; its proxy refuses connections meanwhile, as the machine of a dead one does."""
    with rig.services.kafka_proxy.poisoned(TOXICS["down"]):
        rig.services.stop("kafka")
        try:
            yield
        finally:
            rig.services.start("kafka")


class _Garbage(BaseHTTPRequestHandler):
    """Answers everything with 200 and something else."""

    def _answer(self) -> None:
        body = b"\x00\xff<html>not what you asked for"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815  # the base class looks for these names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _mlflow_garbage(rig: ServingRig) -> Iterator[None]:
    rig.services.stop("mlflow")
    server = ThreadingHTTPServer((LOOPBACK, rig.services.stack.state.ports.mlflow), _Garbage)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        rig.services.start("mlflow")


@contextmanager
def _promoted(rig: ServingRig, bad: Callable[[ServingRig], RegisteredVersion]) -> Iterator[None]:
    """Promote a version that must not be served, until the server has looked at it; then the one before again."""
    served, version = rig.registry.version(rig.info()["version"]), bad(rig)
    rig.promote(version)
    try:
        wait_until(lambda: (rig.info()["refused"] or {}).get("version") == version.version, "the version is refused")
        yield
    finally:
        rig.promote(served)


def _cut(rig: ServingRig) -> RegisteredVersion:
    """Return a version of whose files one was cut in the artifact store."""
    version = _another(rig)
    os.truncate(_largest(rig.stored(version)), 1_000)
    return version


def _flipped(rig: ServingRig) -> RegisteredVersion:
    """Return a version of whose files one had one bit changed in the artifact store."""
    version = _another(rig)
    file = _largest(rig.stored(version))
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    return version


def _of_another_spec(rig: ServingRig) -> RegisteredVersion:
    """Return a version, whole by its digest, that was trained on other features than the server computes."""

    def write(bundle: Path) -> str:
        write_made_bundle(bundle, rig.published, ITEMS)
        manifest = msgspec.json.decode((bundle / "manifest.json").read_bytes())
        raw = msgspec.json.encode({**manifest, "spec_hash": "0" * 64})
        (bundle / "manifest.json").write_bytes(raw)
        return manifest_digest(raw)

    return rig.publish(write)


def _empty(rig: ServingRig) -> RegisteredVersion:
    """Return a version, whole by its digest, that knows no item."""
    return rig.publish(write_empty_bundle)


def _another(rig: ServingRig) -> RegisteredVersion:
    return rig.publish(lambda bundle: write_made_bundle(bundle, rig.published, ITEMS))


def _largest(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda file: file.stat().st_size)


@contextmanager
def _clock(rig: ServingRig, number: signal.Signals) -> Iterator[None]:
    """Let the server's clock be wrong."""
    os.kill(rig.server, number)
    try:
        yield
    finally:
        os.kill(rig.server, signal.SIGHUP)


@contextmanager
def _worker_killed(rig: ServingRig) -> Iterator[None]:
    """Kill the worker that has the most connections; it is over once another process stands in its place."""
    workers = _workers(rig)
    busiest = max(workers, key=lambda worker: len(worker.net_connections()))
    busiest.kill()
    try:
        yield
    finally:
        wait_until(lambda: _replaced(rig, workers), "another worker stands in the place of the killed one")


def _workers(rig: ServingRig) -> set[psutil.Process]:
    """Return the processes that have connections or wait for some."""
    return {child for child in psutil.Process(rig.server).children() if child.net_connections()}


def _replaced(rig: ServingRig, before: set[psutil.Process]) -> bool:
    now = _workers(rig)
    return len(now) == len(before) and now != before


def _postgres_frozen(rig: ServingRig) -> AbstractContextManager[object]:
    return rig.services.frozen("postgres")


FAULTS: Final[Mapping[str, Fault]] = {
    "Postgres stopped": Fault(partial(_stopped, name="postgres")),
    "Postgres 500 ms slower": Fault(lambda rig: rig.services.postgres_proxy.poisoned(HALF_A_SECOND)),
    "Postgres frozen": Fault(_postgres_frozen),
    "Postgres out of connections": Fault(lambda rig: rig.services.crowded(rig.settings, ending=SERVING)),
    "Postgres read-only": Fault(lambda rig: rig.services.read_only(rig.settings, ending=SERVING)),
    "Kafka stopped": Fault(_kafka_stopped),
    "Kafka 500 ms slower": Fault(lambda rig: rig.services.kafka_proxy.poisoned(HALF_A_SECOND)),
    "MLflow stopped": Fault(partial(_stopped, name="mlflow"), LOOKS_S),
    "MLflow answers garbage": Fault(_mlflow_garbage, LOOKS_S),
    "artifact cut": Fault(partial(_promoted, bad=_cut)),
    "bundle with a flipped bit": Fault(partial(_promoted, bad=_flipped)),
    "bundle of another feature spec": Fault(partial(_promoted, bad=_of_another_spec)),
    "bundle without items": Fault(partial(_promoted, bad=_empty)),
    "clock a day ahead": Fault(partial(_clock, number=signal.SIGUSR1), command=(CLOCKED,)),
    "clock a day back": Fault(partial(_clock, number=signal.SIGUSR2), command=(CLOCKED,)),
    "one of two workers killed": Fault(_worker_killed, command=("serving", "--workers", "2")),
}
"""By the name that the README's table has."""
