"""What kafka-python 3.0.12 leaves behind while Kafka is away, and how we keep it from doing so.

A socket that was refused is left to the garbage collector, and a client that finds no broker when it is made leaves a
selector, and but for producers a thread, for ever. A process that waits for Kafka would have no file descriptor left
after some minutes.
"""

import socket
from collections.abc import Iterable
from typing import Any, Final

from kafka.net.inet import KafkaNetSocket

from features.contracts.errors import UnavailableError

URL: Final = "direct://"
"""The client's `proxy_url` that chooses `ClosingSocket`; there is no proxy."""
ANSWER_S: Final = 1.0
"""A broker that takes longer to accept a connection is away."""


class ClosingSocket(KafkaNetSocket):  # type: ignore[misc]  # published without types
    """Connects as the client does by itself, and closes what it cannot connect."""

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
        return sock


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
