"""Airflow by its REST API, where it answers late or not at all."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from ops.demo import airflow
from ops.demo.airflow import Airflow, AirflowError


@contextmanager
def slow_at_first(late: int) -> Iterator[str]:
    """Yield the address of an Airflow that lets so many looks wait for longer than anybody does."""
    looks: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            looks.append(self.path)
            if len(looks) <= late:
                time.sleep(1)
            self.answer({"state": "success"})

        def do_POST(self) -> None:
            self.answer({"access_token": "t"})

        def answer(self, said: dict[str, str]) -> None:
            raw = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_late_answer_ends_nothing_and_none_at_all_is_one_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow, "PAUSE_S", 0.01)
    monkeypatch.setattr(airflow, "TIMEOUT", httpx.Timeout(5, read=0.2))
    with slow_at_first(2) as url, Airflow(url, "admin", "x") as client:
        assert client.state("train_recommender", "r") == "success"
    with slow_at_first(99) as url, Airflow(url, "admin", "x") as client:
        message = f"no answer to GET {url}/api/v2/dags/d/dagRuns/r: ReadTimeout"
        with pytest.raises(AirflowError, match=message):
            client.state("d", "r")
