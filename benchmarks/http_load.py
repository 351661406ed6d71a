"""A small load generator over raw sockets: keep-alive connections, each with one request under way at a time."""

import selectors
import socket
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from time import perf_counter
from typing import Final

import numpy as np

_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "
READ_BYTES: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a run.

    Attributes
    ----------
    requests_per_s
        Answers with the wanted status per second, after the warm-up.
    p50_ms, p99_ms
        Time from the send of a request to the last byte of its answer, in milliseconds.
    failed
        Answers with another status.
    """

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


def load_from_a_process(port: int, bodies: Sequence[bytes], *, path: str, connections: int, seconds: float) -> Load:
    """Return what `load` measured of POSTs in a process of its own, so that server and client share no interpreter."""
    requests = [post(path, body) for body in bodies]
    return load_of(port, requests, connections=connections, seconds=seconds, status=202)


def load_of(port: int, requests: Sequence[bytes], *, connections: int, seconds: float, status: int = 200) -> Load:
    """Return what `load` measured of any requests in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(load, port, requests, connections, seconds, status).result()


def post(path: str, body: bytes) -> bytes:
    """Return the bytes of a POST of JSON."""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + _END_OF_HEAD + body


@dataclass(slots=True)
class _Connection:
    """One socket, what has been read of the answer under way, and when its request was sent."""

    socket: socket.socket
    read: bytearray = field(default_factory=bytearray)
    sent_at: float = 0.0


def load(port: int, requests: Sequence[bytes], connections: int, seconds: float, status: int) -> Load:
    """Return what came of sending requests, one after the other on each connection, for some seconds.

    The first fifth of the time warms up and does not count.
    """
    wanted = b"HTTP/1.1 %d " % status
    latencies, failed, number = [], 0, 0
    started = perf_counter()
    counted_from, until = started + seconds / 5, started + seconds
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            connection = _Connection(socket.create_connection(("127.0.0.1", port)))
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            _send(connection, requests[number % len(requests)])
            number += 1
        while (now := perf_counter()) < until:
            for key, _ in selector.select(1.0):
                connection = key.data
                answer = _answer(connection)
                if answer is None:
                    continue
                if not answer.startswith(wanted):
                    failed += 1
                elif now >= counted_from:
                    latencies.append(perf_counter() - connection.sent_at)
                _send(connection, requests[number % len(requests)])
                number += 1
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    p50, p99 = np.percentile(latencies, [50, 99]) * 1000 if latencies else (float("nan"), float("nan"))
    return Load(len(latencies) / (until - counted_from), float(p50), float(p99), failed)


def _send(connection: _Connection, request: bytes) -> None:
    connection.read.clear()
    connection.sent_at = perf_counter()
    connection.socket.sendall(request)


def _answer(connection: _Connection) -> bytes | None:
    """Return the bytes of a whole answer, None while more must come."""
    got = connection.socket.recv(READ_BYTES)
    if not got:
        raise ConnectionError("the server closed a connection that should stay")
    read = connection.read
    read += got
    head = read.find(_END_OF_HEAD)
    if head < 0:
        return None
    at = read.find(_LENGTH, 0, head) + len(_LENGTH)
    length = int(read[at : read.find(b"\r", at)])
    return bytes(read) if len(read) >= head + len(_END_OF_HEAD) + length else None
