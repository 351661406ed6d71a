"""A server that ends: clients with open connections notice nothing but `Connection: close`."""

import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse, RemoteDisconnected
from pathlib import Path

import pytest
import uvicorn

from ops.local.ports import LOOPBACK, free_port
from serving.app import create_app
from serving.protocol import GuardedProtocol
from serving.server import DrainingServer, configure
from tests.conftest import WaitUntil
from tests.support.serving_parts import bench


class Lingering(GuardedProtocol):
    """Lingers long enough for a busy machine."""

    linger_s = 3.0


@pytest.fixture
def server(tmp_path: Path, wait_until: WaitUntil) -> Iterator[uvicorn.Server]:
    """Yield a running server."""
    with bench(tmp_path) as parts:
        server = DrainingServer(configure(create_app(parts.parts), LOOPBACK, free_port(), Lingering))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            wait_until(lambda: server.started, 20, "the server is up")
            yield server
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def connect(server: uvicorn.Server, wait_until: WaitUntil) -> Iterator[Callable[[], HTTPConnection]]:
    """Yield what gives another connection that is kept alive."""
    made: list[HTTPConnection] = []

    def make() -> HTTPConnection:
        connection = HTTPConnection(LOOPBACK, server.config.port, timeout=20)
        connection.connect()
        made.append(connection)
        wait_until(lambda: len(server.server_state.connections) == len(made), 10, "the server has let it in")
        return connection

    yield make
    for connection in made:
        connection.close()


Connect = Callable[[], HTTPConnection]


def ask(connection: HTTPConnection) -> HTTPResponse:
    connection.request("GET", "/health/live")
    response = connection.getresponse()
    response.read()
    return response


def end(server: uvicorn.Server, wait_until: WaitUntil) -> None:
    """Begin the end of a server, and return once nobody is let in and all connections know."""
    connections = list(server.server_state.connections)
    server.should_exit = True
    wait_until(
        lambda: all(isinstance(one, GuardedProtocol) and one.leaving for one in connections), 10, "connections know"
    )


def test_each_connection_gets_one_more_answer_and_closes(
    server: uvicorn.Server, connect: Connect, wait_until: WaitUntil
) -> None:
    used, unused = connect(), connect()
    assert ask(used).headers["connection"] is None
    end(server, wait_until)
    for connection in (used, unused):
        answer = ask(connection)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
    with pytest.raises(ConnectionRefusedError):
        connect()


def test_a_request_whose_head_has_begun_is_answered(
    server: uvicorn.Server, connect: Connect, wait_until: WaitUntil
) -> None:
    connection = connect()
    assert connection.sock is not None
    connection.sock.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n")
    end(server, wait_until)
    connection.sock.sendall(b"\r\n")
    got = connection.sock.recv(65_536)
    assert got.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in got


def test_an_idle_connection_does_not_hold_up_the_end(
    server: uvicorn.Server, connect: Connect, wait_until: WaitUntil
) -> None:
    connection = connect()
    ask(connection)
    end(server, wait_until)
    started = time.monotonic()
    assert connection.sock is not None
    assert connection.sock.recv(1) == b""
    assert time.monotonic() - started < 2 * Lingering.linger_s + 5
    with pytest.raises((RemoteDisconnected, BrokenPipeError, ConnectionResetError)):
        ask(connection)
