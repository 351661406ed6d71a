"""The real API process for tests, and bundles published the way training publishes them."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
from mlflow.tracking import MlflowClient

from ops.local.ports import LOOPBACK
from serving.bundle_cache import BundleCache, LastGood
from tests.support.processes import uncounted
from tests.support.tiny_bundle import write_tiny_bundle
from training.bundle.manifest import manifest_digest
from training.bundle.registry import Registry
from training.bundle.versions import RegisteredVersion
from training.publish import Publication, publish

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "let-me-in"  # noqa: S105  # of servers that live for one test
NOWHERE = f"http://{LOOPBACK}:9"
"""An address at which nothing listens (the discard port)."""


@dataclass
class Api:
    """One server process, `python -m serving` unless said otherwise, and a client of it."""

    port: int
    settings: Mapping[str, str]
    log: Path
    command: Sequence[str] = ("serving",)
    checkout: Path = ROOT
    client: httpx.Client = field(init=False)
    process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        """Make the client; requests fail when they fail, without a retry."""
        self.client = httpx.Client(base_url=f"http://{LOOPBACK}:{self.port}", timeout=60)

    def start(self) -> None:
        """Start the process and return once it answers."""
        environment = {
            **uncounted(),
            "MARQUEE_API_HOST": LOOPBACK,
            "MARQUEE_API_PORT": str(self.port),
            "MARQUEE_ADMIN_TOKEN": TOKEN,
            # What a busy machine leaves out would be another list.
            "MARQUEE_DEADLINE_MS": "20000",
            **self.settings,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.command], env=environment, cwd=self.checkout, stdout=log, stderr=log
            )
        self._wait_alive()

    def _wait_alive(self) -> None:
        deadline, pause = time.monotonic() + 240, threading.Event()
        while True:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            try:
                self.client.get("/health/live")
            except httpx.TransportError:
                assert time.monotonic() < deadline, self.log.read_text()
                pause.wait(0.05)
            else:
                return

    def stop(self) -> int:
        """Return the exit code after SIGTERM."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def end(self) -> None:
        """End the process in any case."""
        self.client.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def recommend(self, user_id: str, **query: Any) -> dict[str, Any]:
        """Return the answer for a user, which must be a 200."""
        response = self.client.get(f"/api/v1/recommend/{user_id}", params=query)
        assert response.status_code == 200, response.text
        return response.json()  # type: ignore[no-any-return]

    def serve(self, version: str) -> int:
        """Return how many workers serve a version."""
        return workers_on(version, self.metrics())

    def memory(self) -> float:
        """Return the resident bytes of the worker with the most."""
        found = re.findall(r"^process_resident_memory_bytes(?:{.*})? (.*)$", self.metrics(), re.MULTILINE)
        return max(map(float, found))

    def workers(self) -> set[int]:
        """Return the process ids of the workers."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return {int(pid) for pid in children.read_text(encoding="ascii").split()}

    def processes(self) -> set[int]:
        """Return the process ids of the server and of its workers."""
        assert self.process is not None
        return {self.process.pid, *self.workers()}

    def metrics(self) -> str:
        """Return what Prometheus would read."""
        return self.client.get("/metrics").text

    def info(self) -> dict[str, Any]:
        """Return what `/model/info` says."""
        return self.client.get("/model/info").json()  # type: ignore[no-any-return]


def workers_on(version: str, metrics: str) -> int:
    """Return how many workers serve a version, by what Prometheus would read."""
    found = re.search(rf'^marquee_bundle_info{{.*version="{version}".*}} (.*)$', metrics, re.MULTILINE)
    return 0 if found is None else int(float(found[1]))


def items_of(answer: Mapping[str, Any]) -> list[str]:
    """Return the ids of an answer, best first."""
    return [item["item_id"] for item in answer["items"]]


def publish_tiny(
    registry: Registry,
    folder: Path,
    seed: int,
    *,
    flip: bool = False,
    spec: bool = True,
    n_items: int = 30,
    prefix: str = "i",
) -> RegisteredVersion:
    """Return a new version whose bundle was written anew.

    Parameters
    ----------
    flip
        Change one byte of a file after the digest was taken.
    spec
        False: let the manifest name another feature spec; the digest fits.
    n_items, prefix
        Of the items' ids.
    """
    bundle = folder / f"run-{seed}" / "bundle"
    digest = write_tiny_bundle(bundle, seed, n_items, prefix=prefix)
    if flip:
        file = bundle / "factors.npy"
        raw = bytearray(file.read_bytes())
        raw[-1] ^= 1
        file.write_bytes(raw)
    if not spec:
        digest = _other_spec(bundle)
    return publish(
        registry,
        Publication(
            run=f"{folder.name}-{seed}",
            bundle=bundle,
            digest=digest,
            parameters={},
            metrics={},
            tags={},
            example_items=(f"{prefix}1", f"{prefix}2"),
        ),
    )


def _other_spec(bundle: Path) -> str:
    file = bundle / "manifest.json"
    manifest = msgspec.json.decode(file.read_bytes())
    raw = msgspec.json.encode({**manifest, "spec_hash": "0" * 64})
    file.write_bytes(raw)
    return manifest_digest(raw)


def without_digest(registry: Registry, version: RegisteredVersion) -> None:
    """Take the tag away that a server needs."""
    client = MlflowClient(registry.tracking_uri, registry.tracking_uri)
    client.delete_model_version_tag(registry.model_name, version.version, "digest")


def seed_cache(folder: Path, seed: int = 0) -> str:
    """Leave a last good bundle on disk, as a server that served it does, and return its digest."""
    cache = BundleCache(folder)
    with cache.incoming() as incoming:
        digest = write_tiny_bundle(incoming / "bundle", seed)
        cache.install(incoming / "bundle", digest)
    cache.remember(LastGood("1", digest, "run"))
    return digest


@dataclass
class Loop:
    """Requests, one after another, for as long as a block runs.

    Attributes
    ----------
    versions
        Who answered, in the order of the answers.
    prefixes
        With what the ids of the items of each version's answers began.
    failures
        What was no answer.
    """

    versions: list[str | None] = field(default_factory=list)
    prefixes: dict[str | None, set[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def take(self, answer: Mapping[str, Any]) -> None:
        """Note an answer."""
        version = answer["model_version"]
        self.versions.append(version)
        self.prefixes.setdefault(version, set()).update(item_id[0] for item_id in items_of(answer))


@contextmanager
def request_loop(api: Api) -> Iterator[Loop]:
    """Ask for recommendations from two threads, all the time, and yield what came of it."""
    loop, over = Loop(), threading.Event()

    def ask(number: int) -> None:
        with httpx.Client(base_url=api.client.base_url, timeout=60) as client:
            while not over.is_set():
                try:
                    response = client.get(f"/api/v1/recommend/loop-{number}")
                except httpx.HTTPError as error:
                    loop.failures.append(repr(error))
                    continue
                if response.status_code == 200:
                    loop.take(response.json())
                else:
                    loop.failures.append(response.text)
                over.wait(0.02)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield loop
    finally:
        over.set()
        for thread in threads:
            thread.join()
