"""Airflow's REST API, as far as a server starts trainings by it; blocking."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import requests

from features.contracts.errors import MarqueeError, UnavailableError

DAG: Final = "train_recommender"
_TIMEOUT_S: Final = (3.0, 10.0)
"""To connect, and for an answer: Airflow takes a second or two on a busy machine."""
_MOST_WORDS: Final = 300
"""Of what Airflow says when it refuses."""


class AirflowRefusedError(MarqueeError):
    """Airflow answered, but not with what was asked for; `status` is its HTTP status."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"Airflow refused with {status}: {words}")
        self.status = status


class TrainingUnderWayError(MarqueeError):
    """A run of the training is under way, or its DAG is paused: another would only wait."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A run of the training in Airflow, and where people see it."""

    run_id: str
    state: str
    link: str


class Airflow:
    """Starts runs of `train_recommender`.

    Parameters
    ----------
    url, link
        Where servers and where browsers reach it.
    username, password
        A login that may trigger runs.
    """

    def __init__(self, url: str, link: str, username: str, password: str) -> None:
        self._url = url.rstrip("/")
        self._link = link.rstrip("/")
        self._login = {"username": username, "password": password}

    def train(self, conf: Mapping[str, Any], note: str) -> TrainingRun:
        """Return the run that was started with some parameters.

        Raises
        ------
        UnavailableError
            If Airflow cannot be reached, or fails.
        TrainingUnderWayError
            If a run is queued or under way (waiting for an approval, too), or the DAG is paused.
        AirflowRefusedError
            If it refuses the login or the parameters.
        """
        with requests.Session() as session:
            token = self._ask(session, "POST", "/auth/token", self._login)["access_token"]
            session.headers["Authorization"] = f"Bearer {token}"
            self._refuse_to_wait(session)
            # Without a logical date any number of runs may be started by hand.
            wanted = {"logical_date": None, "conf": dict(conf), "note": note}
            return self._run(self._ask(session, "POST", f"/api/v2/dags/{DAG}/dagRuns", wanted))

    def _refuse_to_wait(self, session: requests.Session) -> None:
        if self._ask(session, "GET", f"/api/v2/dags/{DAG}")["is_paused"]:
            raise TrainingUnderWayError(
                f"the DAG {DAG} is paused, so that a run would never begin: unpause it at {self._link}/dags/{DAG}"
            )
        path = f"/api/v2/dags/{DAG}/dagRuns?state=queued&state=running&limit=1"
        if active := self._ask(session, "GET", path)["dag_runs"]:
            run = self._run(active[0])
            raise TrainingUnderWayError(f"run {run.run_id} is {run.state} (or waits for an approval): see {run.link}")

    def _run(self, answer: Mapping[str, Any]) -> TrainingRun:
        run_id = str(answer["dag_run_id"])
        return TrainingRun(run_id, str(answer["state"]), f"{self._link}/dags/{DAG}/runs/{run_id}")

    def _ask(
        self, session: requests.Session, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        try:
            response = session.request(method, self._url + path, json=body, timeout=_TIMEOUT_S)
            if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise UnavailableError(f"Airflow at {self._url}: answered {path} with {response.status_code}")
            answer: dict[str, Any] = response.json()
        except (requests.RequestException, ValueError) as error:
            raise UnavailableError(f"Airflow at {self._url}: no usable answer ({error})") from error
        if not response.ok:
            raise AirflowRefusedError(response.status_code, _words(answer))
        return answer


def _words(answer: Mapping[str, Any]) -> str:
    """Return what Airflow says of a refusal, in short."""
    return str(answer.get("detail", answer))[:_MOST_WORDS]
