"""Rollbacks and trainings that operators ask for, and moves of the alias that nobody noted: what clients are told."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import httpx
import pytest

from features.contracts.errors import UnavailableError
from features.contracts.moves import Moved
from serving.airflow import Airflow, AirflowRefusedError, TrainingRun, TrainingUnderWayError
from serving.auditing import By
from serving.moving import Alias, AliasMoves
from tests.support.serving_parts import TOKEN, Bench, bench

if TYPE_CHECKING:
    from features.moves import Moves

RUN = TrainingRun("manual__1", "queued", "http://airflow/dags/train_recommender/runs/manual__1")
ADMIN = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Trainer:
    """A trainer that keeps what it was asked for, or fails."""

    asked: list[tuple[Mapping[str, Any], str]] = field(default_factory=list)
    error: Exception | None = None

    def train(self, conf: Mapping[str, Any], note: str) -> TrainingRun:
        """Return a run."""
        if self.error is not None:
            raise self.error
        self.asked.append((conf, note))
        return RUN


@pytest.fixture
def trainer() -> Trainer:
    """Return a trainer."""
    return Trainer()


@pytest.fixture
def served(tmp_path: Path, trainer: Trainer) -> Iterator[Bench]:
    """Yield an app that serves the only version."""
    with bench(tmp_path, trainer=trainer) as parts:
        parts.registry.publish()
        yield parts


def post(parts: Bench, path: str, **how: Any) -> httpx.Response:
    async def use() -> httpx.Response:
        async with parts.client() as client:
            return await client.post(path, headers=ADMIN, **how)

    return asyncio.run(use())


@pytest.mark.parametrize("path", ["/api/v1/models/rollback", "/api/v1/recs/models/rollback"])
def test_where_nothing_was_served_before_a_rollback_says_so(served: Bench, path: str) -> None:
    for how in ({}, {"json": {"reason": "worse"}}):
        refused = post(served, path, **how)
        assert refused.status_code == 409
        assert "no version before '1' to go back to" in refused.json()["detail"]
    assert post(served, path, json={"why": "worse"}).status_code == 422


def test_without_the_registry_nothing_is_rolled_back(served: Bench) -> None:
    served.registry.away = True
    assert post(served, "/api/v1/models/rollback").status_code == 503


@pytest.mark.parametrize("path", ["/api/v1/models/train", "/api/v1/recs/train"])
def test_a_training_is_started_with_what_was_asked_for(served: Bench, trainer: Trainer, path: str) -> None:
    body = {"type": "tuned", "since": "2026-01-01T01:00:00+01:00", "until": "2026-02-01T00:00:00Z", "reason": "news"}
    started = post(served, path, json=body)
    assert started.status_code == 202, started.text
    assert started.json() == {
        "dag_id": "train_recommender",
        "run_id": RUN.run_id,
        "state": RUN.state,
        "link": RUN.link,
    }
    [(conf, note)] = trainer.asked
    assert conf == {"tune_trials": 30, "since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}
    assert note.endswith("news")
    assert post(served, path, json={}).status_code == 202
    assert trainer.asked[1][0] == {}


@pytest.mark.parametrize(
    "body",
    [
        {"type": "partial"},
        {"since": "2026-01-01T00:00:00"},
        {"since": "2026-01-02T00:00:00Z", "until": "2026-01-02T00:00:00Z"},
        {"epochs": 3},
    ],
)
def test_what_is_no_training_is_refused(served: Bench, trainer: Trainer, body: dict[str, Any]) -> None:
    assert post(served, "/api/v1/models/train", json=body).status_code == 422
    assert not trainer.asked


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UnavailableError("Airflow at http://inside: timed out"), 503, "does not answer now"),
        (TrainingUnderWayError("run r is running: see http://airflow"), 409, "run r is running"),
        (AirflowRefusedError(401, "Invalid credentials"), 409, "Invalid credentials"),
        (AirflowRefusedError(400, "factors: 4 is less than 8"), 422, "4 is less than 8"),
    ],
)
def test_a_training_that_cannot_be_started_says_why(
    served: Bench, trainer: Trainer, error: Exception, status: int, said: str
) -> None:
    trainer.error = error
    refused = post(served, "/api/v1/models/train", json={})
    assert refused.status_code == status
    assert said in refused.json()["detail"]
    assert "inside" not in refused.text


def test_a_server_without_a_login_says_what_is_missing(tmp_path: Path) -> None:
    with bench(tmp_path) as parts:
        refused = post(parts, "/api/v1/models/train", json={})
    assert refused.status_code == 409
    assert "MARQUEE_AIRFLOW_PASSWORD" in refused.json()["detail"]


def test_a_move_is_looked_at_once_and_again_where_that_failed() -> None:
    looks: list[str | None] = []
    pointed: list[str | None] = [None]

    class Looks:
        """Moves that fail at the first look."""

        def notice(self) -> Moved | None:
            looks.append(pointed[0])
            if len(looks) == 1:
                raise UnavailableError("Postgres is away")
            return None

    with ThreadPoolExecutor(1) as executor:
        moves = AliasMoves(cast("Moves", Looks()), cast("Alias", None), lambda: pointed[0], executor, executor)

        async def use() -> None:
            await moves.notice()
            pointed[0] = "1"
            with pytest.raises(UnavailableError):
                await moves.notice()
            for version in ("1", "1", "2", "2"):
                pointed[0] = version
                await moves.notice()

        asyncio.run(use())
    assert looks == ["1", "1", "2"]


class _Answers(BaseHTTPRequestHandler):
    """An Airflow that answers each path as it was told."""

    told: ClassVar[Mapping[str, tuple[int, Any]]] = {}

    def do_GET(self) -> None:
        """Answer."""
        status, answer = self.told[self.path.split("?")[0]]
        raw = json.dumps(answer).encode()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_POST = do_GET  # noqa: N815  # the base class looks for it by this name

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""


@contextmanager
def airflow_that_says(**told: tuple[int, Any]) -> Iterator[Airflow]:
    base = "/api/v2/dags/train_recommender"
    paths = {"token": "/auth/token", "dag": base, "runs": f"{base}/dagRuns"}
    handler = type("Told", (_Answers,), {"told": {paths[name]: answer for name, answer in told.items()}})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Airflow(f"http://127.0.0.1:{server.server_port}/", "http://airflow/", "admin", "x")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


TOKEN_GIVEN = (201, {"access_token": "t"})
UNPAUSED = (200, {"is_paused": False})


@pytest.mark.parametrize(
    ("told", "error", "said"),
    [
        ({"token": (401, {"detail": "Invalid credentials"})}, AirflowRefusedError, "401: Invalid credentials"),
        ({"token": (502, {})}, UnavailableError, "502"),
        ({"token": TOKEN_GIVEN, "dag": (404, {"detail": "no such DAG"})}, AirflowRefusedError, "no such DAG"),
        ({"token": TOKEN_GIVEN, "dag": (200, {"is_paused": True})}, TrainingUnderWayError, "is paused"),
        (
            {
                "token": TOKEN_GIVEN,
                "dag": UNPAUSED,
                "runs": (200, {"dag_runs": [{"dag_run_id": "r", "state": "queued"}]}),
            },
            TrainingUnderWayError,
            "http://airflow/dags/train_recommender/runs/r",
        ),
    ],
)
def test_what_airflow_says_becomes_an_error_of_ours(
    told: dict[str, tuple[int, Any]], error: type[Exception], said: str
) -> None:
    with airflow_that_says(**told) as airflow, pytest.raises(error, match=said):
        airflow.train({}, "")


def test_an_airflow_that_is_away_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="no usable answer"):
        Airflow("http://127.0.0.1:9", "http://airflow", "admin", "x").train({}, "")


def test_a_rollback_does_not_wait_for_a_look_at_moves_that_waits() -> None:
    looked, may_end = threading.Event(), threading.Event()

    class Waiting:
        def notice(self) -> None:
            looked.set()
            assert may_end.wait(10)

        def make(self, *_: object) -> Moved:
            return Moved("2", "1")

    class Back:
        def roll_back(self) -> Moved:
            raise AssertionError("by way of the moves only")

    with ThreadPoolExecutor(1) as executor, ThreadPoolExecutor(1) as noticing:
        moves = AliasMoves(cast("Moves", Waiting()), Back(), lambda: "2", executor, noticing)

        async def use() -> Moved:
            look = asyncio.create_task(moves.notice())
            await asyncio.to_thread(looked.wait, 10)
            moved = await moves.roll_back(By("admin", "r1"), "because")
            assert not look.done()
            may_end.set()
            await look
            return moved

        assert asyncio.run(use()) == Moved("2", "1")
