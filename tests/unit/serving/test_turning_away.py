"""Lists refused by the bytes of their requests: the same answer as the long way gives, and only what is surely one."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
import uvicorn

from ops.local.ports import LOOPBACK, free_port
from serving.app import create_app
from serving.limits import FlightLimit
from serving.server import configure
from serving.turning_away import TurningAway
from tests.conftest import WaitUntil
from tests.support.serving_parts import bench

LIST = b"GET /api/v1/recommend/u%20%C3%A9?k=3 HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n\r\n"


KEEP_ALIVE_S = 2
"""Of the server under test; seconds."""


@dataclass
class Full:
    """A running server that has no room for lists until a flight ends."""

    port: int
    limit: FlightLimit


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, wait_until: WaitUntil) -> Iterator[Full]:
    """Yield the server."""
    with bench(tmp_path_factory.mktemp("full")) as parts:
        parts.registry.publish()
        app, port = create_app(parts.parts), free_port()
        config = configure(app, LOOPBACK, port)
        config.timeout_keep_alive = KEEP_ALIVE_S
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            wait_until(lambda: server.started, 20, "the server is up")
            limit = app.state.turning_away.limit
            flights = [limit.begin() for _ in range(limit.limit)]
            yield Full(port, limit)
            for flight in flights:
                flight.end()
        finally:
            server.should_exit = True
            thread.join(20)


def ask(connection: socket.socket, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the one answer to what is sent in parts."""
    for part in parts:
        connection.sendall(part)
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65_536)
    head, body = got.split(b"\r\n\r\n", 1)
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65_536)
    assert len(body) == int(headers["content-length"])
    return int(status.split()[1]), headers, body


def test_it_is_told_the_same_as_the_long_way_tells_it(full: Full) -> None:
    with socket.create_connection((LOOPBACK, full.port), timeout=10) as connection:
        short = ask(connection, LIST)
        long = ask(connection, LIST[:20], LIST[20:])  # a head in two pieces is for the parser
    assert short[0] == long[0] == 503
    assert json.loads(short[2]) == json.loads(long[2])
    assert json.loads(short[2])["instance"] == "/api/v1/recommend/u é"
    assert {name: value for name, value in short[1].items() if name != "date"} == {
        name: value for name, value in long[1].items() if name != "date"
    }
    assert short[1]["x-request-id"] == "mine"
    assert "date" in short[1]


def test_probes_pass_on_the_connection_of_one_who_was_refused_and_each_refusal_is_counted(full: Full) -> None:
    def shed() -> float:
        text = httpx.get(f"http://{LOOPBACK}:{full.port}/metrics").text
        return float(text.split('marquee_requests_shed_total{kind="lists"} ', 1)[1].split("\n", 1)[0])

    with socket.create_connection((LOOPBACK, full.port), timeout=10) as connection:
        ask(connection, LIST)
        before = shed()
        assert [ask(connection, LIST)[0] for _ in range(20)] == [503] * 20
        assert ask(connection, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")[0] == 200
        assert shed() == before + 20


def test_a_connection_stays_while_its_requests_are_refused_and_ends_when_nothing_comes_any_more(full: Full) -> None:
    with socket.create_connection((LOOPBACK, full.port), timeout=10) as connection:
        begun = time.monotonic()
        while time.monotonic() < begun + 2 * KEEP_ALIVE_S:
            assert ask(connection, LIST)[0] == 503
            time.sleep(KEEP_ALIVE_S / 10)
        assert connection.recv(1) == b""


def test_a_body_that_was_left_behind_is_no_request(full: Full) -> None:
    body = LIST.ljust(200)
    head = b"POST /api/v1/recommend HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection((LOOPBACK, full.port), timeout=10) as connection:
        assert ask(connection, head)[0] == 503
        assert ask(connection, body, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        LIST[:-1],
        LIST + LIST,
        LIST.replace(b"\r\nHost", b"\nHost"),
        LIST.replace(b"Host: x", b"Host: x\n\nGET / HTTP/1.1"),
        LIST.replace(b"1.1", b"1.0"),
        LIST.replace(b"Host: x", b"Connection: close"),
        LIST.replace(b"Host: x", b"Content-Length: 3"),
        LIST.replace(b"Host: x", b"transfer-encoding: chunked"),
        LIST.replace(b"Host: x", b"Expect: 100-continue"),
        LIST.replace(b"Host: x", b"Host : x"),
        LIST.replace(b"Host: x", b" folded"),
        LIST.replace(b"GET", b"POST"),
        LIST.replace(b"/api/v1/recommend/", b"/api/v1/recommendations/"),
        LIST.replace(b"/api/v1/recommend/", b"/api/v1/recs/models/"),
        LIST.replace(b"/api/v1/recommend/", b"http://x/api/v1/recommend/"),
        b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_odd_or_no_list_goes_the_long_way(data: bytes) -> None:
    async def use() -> bytes | None:
        limit = FlightLimit(1.0, lowest=0, first=None, highest=0)
        away = TurningAway(limit, lambda: None)
        loop = asyncio.get_running_loop()
        assert away.refusal(LIST, loop, ()) is not None
        return away.refusal(data, loop, ())

    assert asyncio.run(use()) is None


def test_of_all_that_come_together_no_more_go_on_than_there_is_room_for() -> None:
    async def use() -> list[bool]:
        away, loop = TurningAway(FlightLimit(1.0, lowest=2, highest=2), lambda: None), asyncio.get_running_loop()
        refused = [away.refusal(LIST, loop, ()) is not None for _ in range(3)]
        await asyncio.sleep(0)  # nobody began: what came was no list after all
        return [*refused, away.refusal(LIST, loop, ()) is not None]

    assert asyncio.run(use()) == [False, False, True, False]
