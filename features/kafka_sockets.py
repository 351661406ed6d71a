"""What kafka-python 3.0.12 leaves behind while Kafka is away, and how we keep it from doing so.

A socket that was refused is left to the garbage collector, as is one of a client that closes while it connects or has
something to send; and a client that finds no broker when it is made leaves a selector, and but for producers a thread,
for ever. A process that waits for Kafka would have no file descriptor left after some minutes.
"""

import socket
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket
from kafka.net.selector import NetworkSelector

from features.contracts.errors import UnavailableError

_Made = TypeVar("_Made")

URL: Final = "direct://"
"""The client's `proxy_url` that chooses `ClosingSocket`; there is no proxy."""
ANSWER_S: Final = 1.0
"""A broker that takes longer to accept a connection is away."""

_sockets: WeakKeyDictionary[NetworkSelector, WeakSet[socket.socket]] = WeakKeyDictionary()
"""What each client has connected: its own thread adds to it, and `close` reads it once that thread has ended."""


class ClosingSocket(KafkaNetSocket):  # type: ignore[misc]  # published without types
    """Connects as the client does by itself, closes what it cannot connect, and notes what it could."""

    SCHEMES = ("direct",)

    async def sock_connect(
        self, net: Any, sock: socket.socket, sockaddr: tuple[Any, ...], timeout_at: float | None = None
    ) -> socket.socket:
        """Return the connected socket, as the client asks for it."""
        connected = False
        try:
            await super().sock_connect(net, sock, sockaddr, timeout_at=timeout_at)
            connected = True
        finally:
            if not connected:
                sock.close()
        _sockets.setdefault(net, WeakSet()).add(sock)
        return sock


class _ClosingClient(KafkaNetClient):  # type: ignore[misc]  # published without types
    """What all of kafka-python's clients send through; when it closes, nothing of it stays open."""

    def close(self, node_id: int | None = None) -> None:
        if node_id is not None:
            super().close(node_id)
            return
        self._net.stop()
        super().close()
        for sock in _sockets.pop(self._net, ()):
            sock.close()


def connected(kind: Callable[..., _Made], brokers: str, **options: object) -> _Made:
    """Return a client that has found its cluster; of one that did not nothing stays.

    Parameters
    ----------
    kind
        ``KafkaConsumer``, ``KafkaProducer`` or ``KafkaAdminClient``.
    brokers
        Those to ask first, host:port, comma-separated.
    options
        Whatever else that kind of client takes.

    Raises
    ------
    UnavailableError
        If no broker accepts connections.
    KafkaError
        If none answered in the time that the options give.
    """
    servers = [server.strip() for server in brokers.split(",")]
    require_broker(servers)
    made: list[_ClosingClient] = []

    def client(**configuration: object) -> _ClosingClient:
        made.append(_ClosingClient(**configuration))
        return made[-1]

    try:
        return kind(bootstrap_servers=servers, proxy_url=URL, kafka_client=client, **options)
    except BaseException:
        for half in made:
            half.close()
        raise


def require_broker(servers: Iterable[str]) -> None:
    """Return once one of some servers (host:port) accepts a connection: only then a client should be made.

    Raises
    ------
    UnavailableError
        If none does within about a second each.
    """
    refusals = []
    for server in servers:
        host, _, port = server.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
        except (OSError, ValueError) as error:
            refusals.append(f"{server}: {error}")
        else:
            return
    raise UnavailableError(f"Kafka, connecting: no broker accepts connections ({'; '.join(refusals)})")
