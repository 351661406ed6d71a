"""A real server against clients that send too much, too slowly, or never end; others are answered meanwhile."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
import uvicorn
from starlette.responses import Response

from ops.local.ports import LOOPBACK, free_port
from serving.app import create_app
from serving.posted import MAX_EVENTS
from serving.protocol import MAX_HEAD_BYTES, GuardedProtocol
from serving.server import configure
from tests.conftest import WaitUntil
from tests.support.serving_parts import bench

LIMIT_S = 1.0
EVENT = b'{"user_id":"u","item_id":"i","action":"view"}'
# One is answered past the framework, the other by it.
PATHS = ["/api/v1/events", "/api/v1/recommend"]


class Impatient(GuardedProtocol):
    """With a limit that a test can wait for."""

    head_timeout_s = LIMIT_S
    unread_timeout_s = LIMIT_S


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, wait_until: WaitUntil) -> Iterator[int]:
    """Yield the port of a running server."""
    port = free_port()
    with bench(tmp_path_factory.mktemp("slow")) as parts:
        app = create_app(parts.parts, body_timeout_s=LIMIT_S)
        server = uvicorn.Server(configure(app, LOOPBACK, port, Impatient))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            wait_until(lambda: server.started, 20, "the server is up")
            yield port
        finally:
            server.should_exit = True
            thread.join(20)


def open_socket(port: int) -> socket.socket:
    return socket.create_connection((LOOPBACK, port), timeout=10)


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", *lines, "", "")).encode()


def answer(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes; nothing where it closed while more was on its way to it."""
    got = b""
    try:
        while part := connection.recv(65_536):
            got += part
    except ConnectionResetError:
        return got
    return got


def dribble(connection: socket.socket, over: threading.Event) -> threading.Thread:
    """Send a space every 50 ms until told to stop, or nobody listens."""

    def send() -> None:
        while not over.wait(0.05):
            try:
                connection.sendall(b" ")
            except OSError:
                return

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("length", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_body_that_does_not_end_is_refused_in_time(port: int, path: str, length: str) -> None:
    with open_socket(port) as connection:
        connection.sendall(head(path, length))
        started = time.monotonic()
        got = answer(connection)
    assert got.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in got
    assert LIMIT_S * 0.9 < time.monotonic() - started < LIMIT_S + 2


@pytest.mark.parametrize("path", PATHS)
def test_dribbled_bodies_are_cut_off_and_hold_nobody_up(port: int, path: str) -> None:
    over, connections, threads = threading.Event(), [open_socket(port) for _ in range(20)], []
    for connection in connections:
        connection.sendall(head(path, "Content-Length: 1000"))
        threads.append(dribble(connection, over))
    started = time.monotonic()
    honest = httpx.post(f"http://{LOOPBACK}:{port}/api/v1/events", content=EVENT)
    assert honest.status_code == 202
    assert time.monotonic() - started < LIMIT_S
    answers = [answer(connection) for connection in connections]
    assert all(got.startswith(b"HTTP/1.1 408 ") or not got for got in answers)
    assert time.monotonic() - started < LIMIT_S + 3
    over.set()
    for thread, connection in zip(threads, connections, strict=True):
        thread.join()
        connection.close()


@pytest.mark.parametrize("begun", [b"", b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_head_that_does_not_end_closes_the_connection(port: int, begun: bytes) -> None:
    over = threading.Event()
    with open_socket(port) as connection:
        connection.sendall(begun)
        thread = dribble(connection, over) if begun else None
        started = time.monotonic()
        assert answer(connection) == b""
        assert LIMIT_S * 0.9 < time.monotonic() - started < LIMIT_S + 2
        over.set()
        if thread is not None:
            thread.join()


def test_a_head_without_end_is_refused(port: int) -> None:
    with open_socket(port) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n")
        try:
            for _ in range(2 * MAX_HEAD_BYTES // 1000):
                connection.sendall(b"X-Header: " + b"x" * 1000 + b"\r\n")
            assert b" 431 " in answer(connection)
        except ConnectionError:
            return


def test_what_is_no_http_is_refused_with_an_id_of_its_own(port: int) -> None:
    found = set()
    for _ in range(2):
        with open_socket(port) as connection:
            connection.sendall(b"no HTTP at all\r\n\r\n")
            top, _, body = answer(connection).partition(b"\r\n\r\n")
        request_id = json.loads(body)["request_id"]
        assert f"x-request-id: {request_id}".encode() in top.split(b"\r\n")
        found.add(request_id)
    assert len(found) == 2
    text = httpx.get(f"http://{LOOPBACK}:{port}/metrics").text
    assert 'marquee_http_requests_total{method="unknown",route="unread",status="400"} 2.0' in text


@pytest.mark.parametrize("path", PATHS)
def test_five_megabytes_are_refused_and_the_client_hears_it(port: int, path: str) -> None:
    large = b" " * 5_000_000
    with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=20) as client:
        with_length = client.post(path, content=large)
        chunked = client.post(path, content=(large[:100_000] for _ in range(50)))
        assert (with_length.status_code, chunked.status_code) == (413, 413)
        assert client.post(path, content=b"{}").status_code in {200, 422}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("length", ["Content-Length: 5000000", "Transfer-Encoding: chunked"])
def test_a_body_too_large_that_goes_on_and_on_closes_the_connection(port: int, path: str, length: str) -> None:
    with open_socket(port) as connection:
        connection.sendall(head(path, length) + (b"300000\r\n" + b" " * 0x300000 if "chunked" in length else b" "))
        started = time.monotonic()
        got = answer(connection)
    assert got.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in got.lower()
    assert time.monotonic() - started < LIMIT_S + 2


def test_an_honest_chunked_body_is_taken(port: int) -> None:
    parts = iter([b'{"events":[', EVENT, b",", EVENT, b"]}"])
    taken = httpx.post(f"http://{LOOPBACK}:{port}/api/v1/events", content=parts)
    assert (taken.status_code, len(taken.json()["results"])) == (202, 2)


def test_one_event_too_many_and_deep_nesting_are_refused(port: int) -> None:
    url = f"http://{LOOPBACK}:{port}/api/v1/events"
    full = b"[" + b",".join([EVENT] * MAX_EVENTS) + b"]"
    assert httpx.post(url, content=full).status_code == 202
    assert httpx.post(url, content=full[:-1] + b"," + EVENT + b"]").status_code == 422
    for deep in (b"[" * 200_000, b'{"a":' * 50 + b"1" + b"}" * 50):
        assert httpx.post(url, content=deep).status_code == 400


def test_a_client_that_leaves_in_the_middle_is_no_error(port: int, wait_until: WaitUntil) -> None:
    with open_socket(port) as connection:
        connection.sendall(head("/api/v1/events", "Content-Length: 1000") + b"{")

    def counted() -> bool:
        text = httpx.get(f"http://{LOOPBACK}:{port}/metrics").text
        return 'route="/api/v1/events",status="499"' in text and 'status="500"' not in text

    wait_until(counted, 5, "the request is counted")


def under_way(port: int) -> int:
    """Return how many requests are being answered, but for the one that asks."""
    text = httpx.get(f"http://{LOOPBACK}:{port}/metrics").text
    return int(float(text.split("\nmarquee_http_requests_in_flight ", 1)[1].split("\n", 1)[0])) - 1


def test_who_asks_and_does_not_read_is_under_way_for_a_while_only(
    port: int, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 200
    with ExitStack() as connected:
        connections = [connected.enter_context(socket.socket()) for _ in range(4)]
        for connection in connections:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.settimeout(10)
            connection.connect((LOOPBACK, port))
            connection.sendall(asked)
        wait_until(lambda: under_way(port) == len(connections), 10, "all of them wait for their clients")
        wait_until(lambda: under_way(port) == 0, LIMIT_S + 9, "nothing is under way any more")
        for connection in connections:
            assert answer(connection).count(b"HTTP/1.1 200 ") < asked.count(b"GET")
    assert "Exception in ASGI application" not in caplog.text


def test_who_reads_slowly_gets_all_of_an_answer(wait_until: WaitUntil) -> None:
    port, size, seconds = free_port(), 24_000_000, 3 * LIMIT_S
    # Far more than the kernel takes on the way, so that it is still unread after the time.
    config = uvicorn.Config(Response(bytes(size)), host=LOOPBACK, port=port, loop="uvloop", http=Impatient)
    config.lifespan, config.log_config = "off", None
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, 20, "the server is up")
        with open_socket(port) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            got, started = 0, time.monotonic()
            while part := connection.recv(65_536):
                got += len(part)
                time.sleep(max(got / size * seconds - (time.monotonic() - started), 0))
        assert got > size
    finally:
        server.should_exit = True
        thread.join(20)
