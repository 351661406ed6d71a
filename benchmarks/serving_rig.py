"""A server with all that is behind it, real and its own: Postgres and Kafka by way of proxies, MLflow with bundles."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
from mlflow.tracking import MlflowClient

from benchmarks.bundles import write_made_bundle
from benchmarks.filling import Histories, fill, made_up_histories
from features.kafka_admin import Admin
from features.settings import Settings
from ops.local.ports import LOOPBACK, free_port
from tests.support.services import Services, own_services
from tests.support.serving import Api
from training.bundle.registry import Registry
from training.bundle.versions import RegisteredVersion
from training.publish import Publication, publish

ALIAS: Final = "champion"
DEADLINE_MS: Final = 150
USERS: Final = 200
ITEMS: Final = 2_000
EVENTS_PER_USER: Final = 30
PATIENCE_S: Final = 90.0


class RigError(AssertionError):
    """Something did not come about in time."""


@dataclass
class ServingRig:
    """What benchmarks of serving under faults and changes work with.

    Attributes
    ----------
    services
        Postgres, Kafka and MLflow.
    settings, via
        Where they are, and by way of the proxies.
    api
        The server and a client of it; it goes by way of the proxies.
    registry
        Where bundles are published.
    folder
        For files of this run.
    """

    services: Services
    settings: Settings
    via: Settings
    api: Api
    registry: Registry
    folder: Path
    published: int = 0

    def publish(self, write: Callable[[Path], str]) -> RegisteredVersion:
        """Return a new version whose bundle a function wrote."""
        self.published += 1
        bundle = self.folder / f"run-{self.published}" / "bundle"
        digest = write(bundle)
        run = f"run-{self.published}"
        return publish(self.registry, Publication(run, bundle, digest, parameters={}, metrics={}, tags={}))

    def stored(self, version: RegisteredVersion) -> Path:
        """Return the folder of MLflow's artifact store that holds a version's bundle."""
        client = MlflowClient(self.registry.tracking_uri, self.registry.tracking_uri)
        uri = client.get_model_version_download_uri(self.registry.model_name, version.version)
        return self.services.stack.layout.artifacts / uri.split("mlflow-artifacts:/", 1)[1] / "artifacts" / "bundle"

    def promote(self, version: RegisteredVersion) -> None:
        """Let the alias point to a version."""
        self.registry.set_alias(ALIAS, version.version)

    def health(self) -> dict[str, Any]:
        """Return what `/health` says, nothing while it cannot be asked."""
        try:
            answer: dict[str, Any] = self.api.client.get("/health").json()
        except httpx.HTTPError:
            return {}
        return answer

    def info(self) -> dict[str, Any]:
        """Return what `/model/info` says."""
        return self.api.info()

    @property
    def server(self) -> int:
        """Return the process id of the server."""
        if self.api.process is None:
            raise RigError("the server was not started")
        return self.api.process.pid

    def restart(self, *command: str) -> None:
        """Start the server anew, as another command, and return once all is well."""
        self.api.stop()
        self.api.command = command
        self.api.start()
        wait_until(lambda: self.health().get("status") == "ok", "the server is well")


def wait_until(holds: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> float:
    """Return the moment at which something came to hold, by `time.monotonic`.

    Raises
    ------
    RigError
        If it does not in time.
    """
    deadline = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > deadline:
            raise RigError(f"not within {patience_s:g} s: {what}")
        time.sleep(0.05)
    return time.monotonic()


def knows_options(options: Collection[str]) -> bool:
    """Return whether `python -m serving` knows some options."""
    shown = subprocess.run([sys.executable, "-m", "serving", "--help"], capture_output=True, text=True, check=False)
    return all(option in shown.stdout for option in options)


@contextmanager
def serving_rig(**variables: str) -> Iterator[ServingRig]:
    """Yield a running server whose first version is served, with users who have histories."""
    with TemporaryDirectory(prefix="marquee-rig-") as name, own_services() as services:
        folder = Path(name)
        services.start("mlflow")
        settings, via = services.new_settings()
        with Admin(settings) as admin:
            admin.create_topics(partitions=2)
        fill(settings, _histories(), [f"i{number}" for number in range(ITEMS)])
        uri = f"http://{LOOPBACK}:{services.stack.state.ports.mlflow}"
        rig = ServingRig(services, settings, via, _api(via, uri, folder, variables), Registry(uri, "marquee"), folder)
        rig.promote(rig.publish(lambda bundle: write_made_bundle(bundle, 0, ITEMS)))
        try:
            rig.api.start()
            wait_until(lambda: rig.health().get("status") == "ok", "the server is well")
            yield rig
        finally:
            rig.api.end()


def _histories() -> Histories:
    n_events = USERS * EVENTS_PER_USER
    made = made_up_histories(USERS, ITEMS, n_events, time.time_ns() // 1000)
    return Histories(made.user, made.item, made.at_us, "u", "i")


def _api(via: Settings, mlflow_uri: str, folder: Path, variables: dict[str, str]) -> Api:
    port = free_port()
    settings = {
        "MARQUEE_DATABASE_URL": via.database_url.get_secret_value(),
        "MARQUEE_KAFKA_BOOTSTRAP_SERVERS": via.kafka_bootstrap_servers,
        "MARQUEE_MLFLOW_TRACKING_URI": mlflow_uri,
        "MARQUEE_CACHE_DIR": str(folder / "cache"),
        "MARQUEE_WORK_DIR": str(folder / "work"),
        "MARQUEE_DEADLINE_MS": str(DEADLINE_MS),
        "OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", "1"),
    }
    return Api(port, {**settings, **variables}, folder / "api.log")
