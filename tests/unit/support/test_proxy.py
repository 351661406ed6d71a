"""The proxy's toxics do what they say, and links are good again without them."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.proxy import LOOPBACK, TOXICS, Proxy, Toxic

PATIENCE_S = 5.0


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Yield a proxy before a server that says everything again."""
    with socket.create_server((LOOPBACK, 0)) as server:
        echo = threading.Thread(target=serve, args=(server,), daemon=True)
        echo.start()
        proxy = Proxy(server.getsockname()[1])
        yield proxy
        proxy.close()
        server.shutdown(socket.SHUT_RDWR)
        echo.join()


def serve(server: socket.socket) -> None:
    """Say everything again, on one connection at a time, until the server is closed."""
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        with client:
            try:
                while data := client.recv(65_536):
                    client.sendall(data)
            except ConnectionError:
                continue


def trip(proxy: Proxy, size: int = 100, patience_s: float = PATIENCE_S) -> tuple[int, float]:
    """Return how many bytes of a message came back, and after how many seconds."""
    began, came = time.monotonic(), 0
    with socket.create_connection((LOOPBACK, proxy.port), patience_s) as client:
        client.sendall(b"x" * size)
        while came < size and (data := client.recv(65_536)):
            came += len(data)
    return came, time.monotonic() - began


def breaks(proxy: Proxy) -> bool:
    """Return whether a connection that is used again and again breaks off."""
    moment, deadline = threading.Event(), time.monotonic() + PATIENCE_S
    try:
        with socket.create_connection((LOOPBACK, proxy.port), PATIENCE_S) as client:
            while time.monotonic() < deadline:
                client.sendall(b"x" * 1_000)
                if not client.recv(65_536):
                    return True
                moment.wait(0.01)
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("name", TOXICS)
def test_links_are_good_again_after_every_toxic(proxy: Proxy, name: str) -> None:
    with proxy.poisoned(TOXICS[name]):
        pass

    assert trip(proxy)[0] == 100


@pytest.mark.parametrize(
    ("toxic", "at_least_s"),
    [(Toxic(latency_s=0.2), 0.4), (Toxic(bytes_per_s=20_000), 0.4), (Toxic(slice_bytes=10, slice_delay_s=0.001), 0.3)],
)
def test_slow_links_are_slow_and_lose_nothing(proxy: Proxy, toxic: Toxic, at_least_s: float) -> None:
    size = 10_000 if toxic.bytes_per_s else 3_000
    with proxy.poisoned(toxic):
        came, took = trip(proxy, size)

    assert came == size
    assert took >= at_least_s


@pytest.mark.parametrize("name", ["down", "limit_data", "reset_peer"])
def test_cut_links_break_off(proxy: Proxy, name: str) -> None:
    with proxy.poisoned(TOXICS[name]):
        assert breaks(proxy)


def test_a_silent_link_says_nothing_and_closes_when_it_is_good_again(proxy: Proxy) -> None:
    with socket.create_connection((LOOPBACK, proxy.port), PATIENCE_S) as client:
        with proxy.poisoned(TOXICS["timeout"]):
            client.sendall(b"x")
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.recv(1)
        client.settimeout(PATIENCE_S)
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_the_end_of_a_connection_comes_late(proxy: Proxy) -> None:
    with proxy.poisoned(Toxic(close_delay_s=0.3)):
        with socket.create_connection((LOOPBACK, proxy.port), PATIENCE_S) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            began = time.monotonic()
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
        assert time.monotonic() - began >= 0.3
