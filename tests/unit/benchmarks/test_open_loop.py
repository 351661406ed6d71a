"""The load maker against a server that takes its time: waits count from the planned time, and nothing is lost."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from benchmarks.open_loop import NO_ANSWER, OpenLoop, even, get, poisson, shoot
from ops.local.ports import free_port

TAKES_S = 0.05
TOGETHER = threading.Barrier(8)


class _Slow(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/together":
            TOGETHER.wait(10)
        threading.Event().wait(TAKES_S)
        status = 503 if self.path == "/no" else 200
        body = b"" if status == 503 else f'{{"model_version":"{self.path}"}}'.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 64  # the library's 5 turns some of eight away for a second


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Yield the port of a server that answers each request after a while."""
    server = _Server(("127.0.0.1", 0), _Slow)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_who_waits_for_a_connection_is_seen_to_wait(port: int) -> None:
    shots = shoot(port, [get("/a")], np.zeros(4), connections=1)
    assert shots.status.tolist() == [200] * 4
    assert (shots.took_s >= TAKES_S * np.arange(1, 5)).all(), "each waits for all before it"


def test_requests_that_come_meanwhile_have_connections_of_their_own(port: int) -> None:
    shots = shoot(port, [get("/together")], np.zeros(TOGETHER.parties))
    assert (shots.status == 200).all(), "the server answers none before all have come"


def test_each_answer_is_known_by_its_status_and_words(port: int) -> None:
    shots = shoot(port, [get("/a"), get("/no")], even(100, 0.1), patterns=['"model_version":"(.*?)"'])
    assert shots.status.tolist() == [200, 503] * 5
    assert list(shots.words) == [("/a",), ("",)] * 5
    summary = shots.summary()
    assert summary["by_status"] == {"200": 5, "503": 5}
    assert shots.summary(within_s=TAKES_S / 2)["goodput_per_s"] == 0


def test_a_load_that_is_stopped_tells_of_what_was_sent(port: int) -> None:
    load = OpenLoop(port, [get("/a")], even(50, 600))
    load.wait_until(0.5)
    shots = load.stop()
    assert 0 < len(shots) < 50 * 600
    assert (shots.status == 200).all()
    assert shots.answered_at_s.max() <= time.monotonic()


def test_where_nobody_listens_requests_fail_and_say_so() -> None:
    shots = shoot(free_port(), [get("/a")], poisson(50, 0.2))
    assert (shots.status == NO_ANSWER).all()
    assert shots.summary()["p50_ms"] is None
