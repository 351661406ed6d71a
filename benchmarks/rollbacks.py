"""How long after somebody asks for a rollback all workers serve the version before, while lists are asked for.

`python -m benchmarks.rollbacks`: a stack of its own, two made versions; the command, the API, Airflow's DAG and a move
of the alias by the request that MLflow's page sends, each several times. The first of all is Airflow's, by workers that
have done nothing yet, to a version that no server has served: they have fetched it, as they do within seconds. Beside
the times: the parts that Airflow's own clock tells, and what became of the lists meanwhile.
"""

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
import numpy as np

from benchmarks.bundles import write_made_bundle
from benchmarks.open_loop import OK, OpenLoop, even, get
from benchmarks.own_stack import airflow_of, own_stack, registry_of
from benchmarks.record import record
from benchmarks.serving_rig import wait_until
from ops.demo import commands
from ops.demo.airflow import Airflow
from ops.local.stack import Stack
from tests.support.serving import workers_on
from training.bundle.registry import Registry
from training.bundle.versions import ALIAS_PREVIOUS
from training.publish import Publication, publish

DAG: Final = "rollback_model"
KNOWN_WITHIN_S: Final = 120.0
TIMES: Final = 5
LISTS_PER_S: Final = 20.0
LONGEST_S: Final = 600.0
ITEMS: Final = 2_000
USERS: Final = 200


class Ways:
    """The four ways back, each of which returns once what it asked for was taken."""

    def __init__(self, stack: Stack, registry: Registry, airflow: Airflow) -> None:
        self._settings = stack.settings()
        self._alias = self._settings["MARQUEE_MODEL_ALIAS"]
        self._registry = registry
        self._airflow = airflow
        self.airflow_s: list[dict[str, float]] = []

    def all(self) -> Mapping[str, Callable[[], None]]:
        """Return them by name."""
        return {
            "Airflow: `rollback_model`": self.dag,
            "`python -m training rollback`": self.command,
            "`POST /api/v1/models/rollback`": self.api,
            "MLflow: the alias, on its page": self.page,
        }

    def before(self) -> str:
        """Return the version that a rollback leads to now."""
        return self._registry.aliases()[ALIAS_PREVIOUS]

    def before_digest(self) -> str:
        """Return the name of that version's folder on a server's disk."""
        return str(self._registry.version(self.before()).digest)

    def command(self) -> None:
        """Run the command."""
        commands.run(["training", "rollback", "--reason", "timed"], self._settings)

    def api(self) -> None:
        """Ask the API."""
        admin = {"Authorization": f"Bearer {self._settings['MARQUEE_ADMIN_TOKEN']}"}
        httpx.post(f"{self._settings['MARQUEE_API_URL']}/api/v1/models/rollback", headers=admin, timeout=30)

    def page(self) -> None:
        """Send what MLflow's page of a version sends."""
        asked = {"name": self._registry.model_name, "alias": self._alias, "version": self.before()}
        url = f"{self._registry.tracking_uri}/ajax-api/2.0/mlflow/registered-models/alias"
        httpx.post(url, json=asked, timeout=30).raise_for_status()

    def dag(self) -> None:
        """Trigger the DAG, and keep what Airflow's clock says of its run, once it has ended."""
        asked_s = time.time()
        run = self._airflow.trigger(DAG, {"reason": "timed"})
        list(self._airflow.follow(DAG, run, LONGEST_S))
        [task] = self._airflow.tasks(DAG, run)
        moments = {"queued": task["queued_when"], "started": task["start_date"], "ended": task["end_date"]}
        self.airflow_s.append(
            {name: round(datetime.fromisoformat(at).timestamp() - asked_s, 2) for name, at in moments.items()}
        )


def run() -> None:
    """Time them, print and keep what was found."""
    with own_stack() as stack, airflow_of(stack) as airflow:
        registry = registry_of(stack)
        _publish(registry, stack.settings()["MARQUEE_MODEL_ALIAS"])
        airflow.wait_for_dag(DAG, KNOWN_WITHIN_S)
        airflow.unpause(DAG)
        found = measure(stack, Ways(stack, registry, airflow))
    print(f"rollbacks: {found}", flush=True)
    record("rollbacks", found)


def measure(stack: Stack, ways: Ways) -> dict[str, Any]:
    """Return how long each way took, each time, and what became of lists."""
    api = httpx.Client(base_url=stack.settings()["MARQUEE_API_URL"], timeout=20)
    workers = int(stack.settings()["MARQUEE_WORKERS"])

    def served(version: str) -> bool:
        return workers_on(version, api.get("/metrics").text) == workers

    wait_until(lambda: served("2"), "all workers serve version 2")
    kept = Path(stack.settings()["MARQUEE_CACHE_DIR"]) / ways.before_digest()
    wait_until(kept.is_dir, "the version before is on the servers' disk")
    asked = [get(f"/api/v1/recommend/u{number}?k=20") for number in range(USERS)]
    load = OpenLoop(stack.state.ports.api, asked, even(LISTS_PER_S, LONGEST_S))
    try:
        took = {name: [_timed(way, ways, served) for _ in range(TIMES)] for name, way in ways.all().items()}
        shots = load.stop()
    finally:
        load.end()
    lists = {"asked": len(shots), "failed": int((shots.status != OK).sum())}
    p99_ms = round(float(np.quantile(shots.took_s, 0.99)) * 1000)
    return {"served_after_s": took, "airflow_s": ways.airflow_s, "lists": lists | {"p99_ms": p99_ms}}


def _timed(way: Callable[[], None], ways: Ways, served: Callable[[str], bool]) -> float:
    """Return how many seconds after it was asked for all workers serve the version before."""
    to = ways.before()
    asked_s, found = time.monotonic(), list[float]()

    def look() -> None:
        found.append(wait_until(lambda: served(to), f"all workers serve version {to}"))

    looking = threading.Thread(target=look)
    looking.start()
    way()
    looking.join()
    wait_until(lambda: ways.before() != to, "the move is accounted for, and leads back")
    return round(found[0] - asked_s, 2)


def _publish(registry: Registry, alias: str) -> None:
    """Register two versions, of which the second serves."""
    with TemporaryDirectory(prefix="marquee-rollbacks-") as folder:
        for number in (1, 2):
            bundle = Path(folder) / f"run-{number}" / "bundle"
            digest = write_made_bundle(bundle, number, ITEMS)
            publish(registry, Publication(f"run-{number}", bundle, digest, parameters={}, metrics={}, tags={}))
    registry.set_alias(ALIAS_PREVIOUS, "1")
    registry.set_alias(alias, "2")


if __name__ == "__main__":
    run()
