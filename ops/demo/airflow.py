"""Airflow by its REST API: what the trigger button does, and what the grid shows."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from features.contracts.errors import MarqueeError
from features.contracts.times import zulu

PAUSE_S = 1.0
TIMEOUT = httpx.Timeout(30.0)
LOOKS = 5
"""How often something is looked at that gives no answer."""
FINAL = {"success", "failed"}
TASK_FINAL = {"success", "failed", "skipped", "upstream_failed", "removed"}
ASKS = "awaiting_input"
"""State of a task that waits for a person's answer."""


class AirflowError(MarqueeError):
    """Airflow refused a request, or a run failed."""


@dataclass(frozen=True)
class TaskDone:
    """A task that has ended."""

    task: str
    state: str
    seconds: float | None


class Airflow:
    """A client that is logged in.

    Parameters
    ----------
    url
        The API server.
    username, password
        Its login, which `make status` shows.
    """

    def __init__(self, url: str, username: str, password: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT)
        answer = self._ask("POST", "/auth/token", {"username": username, "password": password})
        self._client.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self._client.close()

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON answer; AirflowError for any other status than success, or none."""
        response = self._answer(method, path, body)
        if not response.is_success:
            raise AirflowError(f"Airflow answered {method} {path} with {response.status_code}: {response.text[:500]}")
        answer: dict[str, Any] = response.json()
        return answer

    def _answer(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """Return the answer; what only looks is asked again, since a busy machine may answer late."""
        tries = stop_after_attempt(LOOKS if method == "GET" else 1)
        again = retry_if_exception_type(httpx.TransportError)
        ask = Retrying(retry=again, stop=tries, wait=wait_fixed(PAUSE_S), reraise=True)
        try:
            return ask(self._client.request, method, path, json=body)
        except httpx.HTTPError as error:
            what = f"{method} {self._client.base_url.join(path)}"
            raise AirflowError(f"Airflow gave no answer to {what}: {type(error).__name__}: {error}") from error

    def wait_for_dag(self, dag: str, within_s: float) -> None:
        """Return once Airflow has read the file of `dag`.

        Raises
        ------
        AirflowError
            When it has not in time.
        """
        deadline = time.monotonic() + within_s
        while self._answer("GET", f"/api/v2/dags/{dag}").status_code != httpx.codes.OK:
            if time.monotonic() > deadline:
                raise AirflowError(f"Airflow does not know the DAG {dag}: see `make logs S=airflow-dag-processor`")
            time.sleep(PAUSE_S)

    def unpause(self, dag: str) -> None:
        """Let `dag` run."""
        self._ask("PATCH", f"/api/v2/dags/{dag}", {"is_paused": False})

    def trigger(self, dag: str, conf: Mapping[str, Any] | None = None) -> str:
        """Return the id of a new run of `dag` with its parameters as they are, but for those of `conf`."""
        asked = {"logical_date": None, "conf": dict(conf or {})}
        run_id: str = self._ask("POST", f"/api/v2/dags/{dag}/dagRuns", asked)["dag_run_id"]
        return run_id

    def under_way(self, dag: str, since: datetime) -> str | None:
        """Return the id of a run of `dag` that was asked for at or after an instant and has not ended, None if none."""
        states = "state=queued&state=running"
        found = self._ask("GET", f"/api/v2/dags/{dag}/dagRuns?{states}&run_after_gte={zulu(since)}")["dag_runs"]
        return found[0]["dag_run_id"] if found else None

    def state(self, dag: str, run: str) -> str:
        """Return the state of `run`."""
        return str(self._ask("GET", f"/api/v2/dags/{dag}/dagRuns/{run}")["state"])

    def tasks(self, dag: str, run: str) -> list[dict[str, Any]]:
        """Return what Airflow knows of each task of `run`."""
        found: list[dict[str, Any]] = self._ask("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances")[
            "task_instances"
        ]
        return found

    def follow(self, dag: str, run: str, within_s: float) -> Iterator[TaskDone]:
        """Yield each task of `run` when it has ended, until the run has, or asks a person: that task comes last.

        Raises
        ------
        AirflowError
            Where the run fails, or lasts too long.
        """
        told: set[str] = set()
        deadline = time.monotonic() + within_s
        while True:
            state, tasks = self.state(dag, run), self.tasks(dag, run)
            ended = [one for one in tasks if one["state"] in TASK_FINAL and one["task_id"] not in told]
            for instance in sorted(ended, key=lambda one: one["end_date"] or ""):
                told.add(instance["task_id"])
                yield TaskDone(instance["task_id"], instance["state"], _seconds(instance))
            if asking := [one["task_id"] for one in tasks if one["state"] == ASKS]:
                yield TaskDone(asking[0], ASKS, None)
                return
            if state in FINAL:
                break
            if time.monotonic() > deadline:
                raise AirflowError(f"the run {run} of {dag} is still {state} after {within_s:.0f} s")
            time.sleep(PAUSE_S)
        if state == "failed":
            raise AirflowError(f"the run {run} of {dag} failed: open it in Airflow, or `make logs S=airflow-scheduler`")


def _seconds(instance: dict[str, Any]) -> float | None:
    """Return how long a task ran."""
    if not (instance["start_date"] and instance["end_date"]):
        return None
    return (
        datetime.fromisoformat(instance["end_date"]) - datetime.fromisoformat(instance["start_date"])
    ).total_seconds()
