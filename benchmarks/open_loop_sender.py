"""The process that makes an open-loop load: a job comes by standard input, what came of it goes to standard output.

One thread over raw sockets. It shares the machine with what it measures, so that it must be lean: `epoll` knows which
of hundreds of connections have something; `select` waits for it alone, as timeouts of `epoll` are whole milliseconds;
and it looks up once in a millisecond at most, however much comes and goes, because each look takes a processor from the
server, in the midst of a list. What waits for a look counts as time that the server took.
"""

import pickle
import re
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

LOOPBACK: Final = "127.0.0.1"
PATIENCE_S: Final = 20.0
"""After this an answer is not waited for any more."""
LOOK_EVERY_S: Final = 0.05
READ_BYTES: Final = 1 << 18
GAP_S: Final = 0.001
"""At least so long from one look to the next."""
_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length:"
_CLOSES: Final = b"\r\nconnection: close"


@dataclass(slots=True, eq=False)
class _Connection:
    """One socket, the number of the request under way on it (-1 = idle), and what has been read of its answer."""

    socket: socket.socket
    number: int = -1
    read: bytearray = field(default_factory=bytearray)


class Sender:
    """Sends requests at their times, each on a connection that is free.

    Parameters
    ----------
    port, requests, planned_s, connections, patterns
        As `open_loop.OpenLoop` has them.
    orders
        Where the end of file means: stop.
    """

    def __init__(
        self,
        *,
        port: int,
        requests: Sequence[bytes],
        planned_s: npt.NDArray[np.float64],
        connections: int,
        patterns: Sequence[bytes],
        orders: IO[bytes] | None = None,
    ) -> None:
        self._port, self._requests, self._planned_s = port, requests, planned_s.tolist()
        self._most = connections
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._orders = orders
        self._epoll = select.epoll()
        self._open: dict[int, _Connection] = {}
        self._idle: list[_Connection] = []
        self._busy: dict[int, _Connection] = {}
        self._due: deque[int] = deque()
        self._next = 0
        self._began_s = 0.0
        self.sent_s = np.full(len(planned_s), np.nan)
        self.took_s = np.full(len(planned_s), np.nan)
        self.status = np.zeros(len(planned_s), dtype=np.int64)
        self.words: list[tuple[str, ...]] = [("",) * len(patterns)] * len(planned_s)

    def run(self, began_s: float) -> dict[str, Any]:
        """Return what came of it all, from a time zero by `time.monotonic` on."""
        self._began_s, looked_s, spent_s = began_s, 0.0, time.process_time()
        if self._orders is not None:
            self._epoll.register(self._orders, select.EPOLLIN)
        while self._next < len(self._planned_s) or self._due or self._busy:
            self._send_due()
            ready, _, _ = select.select((self._epoll,), (), (), self._pause_s())
            time.sleep(max(looked_s + GAP_S - self._now_s, 0.0))
            looked_s = self._now_s
            for descriptor, _ in self._epoll.poll(0) if ready else ():
                connection = self._open.get(descriptor)
                if connection is None:
                    self._stop()
                else:
                    self._hear(connection)
            self._give_up()
        sent = ~np.isnan(self.took_s)
        return {
            "planned_s": np.array(self._planned_s)[sent],
            "sent_s": self.sent_s[sent],
            "took_s": self.took_s[sent],
            "status": self.status[sent],
            "words": [self.words[at] for at in np.flatnonzero(sent)],
            "sender_share": (time.process_time() - spent_s) / max(self._now_s, 1e-9),
        }

    @property
    def _now_s(self) -> float:
        now_s: float = time.monotonic() - self._began_s
        return now_s

    def _pause_s(self) -> float:
        if self._next == len(self._planned_s):
            return LOOK_EVERY_S
        return min(max(float(self._planned_s[self._next]) - self._now_s, 0.0), LOOK_EVERY_S)

    def _stop(self) -> None:
        """Plan nothing more."""
        if self._orders is not None:
            self._epoll.unregister(self._orders)
        self._next = len(self._planned_s)
        self._due.clear()

    def _send_due(self) -> None:
        now_s = self._now_s
        while self._next < len(self._planned_s) and self._planned_s[self._next] <= now_s:
            self._due.append(self._next)
            self._next += 1
        while self._due and (self._idle or len(self._busy) < self._most):
            self._send(self._due.popleft())

    def _send(self, number: int) -> None:
        self.sent_s[number] = self._now_s
        try:
            connection = self._idle.pop() if self._idle else self._connect()
        except OSError:
            self._over(number, 0)
            return
        connection.number = number
        connection.read.clear()
        self._busy[number] = connection
        try:
            connection.socket.sendall(self._requests[number % len(self._requests)])
        except OSError:
            self._lose(connection)

    def _connect(self) -> _Connection:
        connection = _Connection(socket.create_connection((LOOPBACK, self._port), timeout=1))
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket, select.EPOLLIN)
        return connection

    def _hear(self, connection: _Connection) -> None:
        try:
            got = connection.socket.recv(READ_BYTES)
        except OSError:
            got = b""
        if not got:
            self._lose(connection)
            return
        connection.read += got
        end = connection.read.find(_END_OF_HEAD)
        if end < 0:
            return
        head, body = connection.read[:end].lower() + _END_OF_HEAD, len(connection.read) - end - len(_END_OF_HEAD)
        length = head.find(_LENGTH) + len(_LENGTH)
        if length >= len(_LENGTH) and body >= int(head[length : head.find(b"\r", length)]):
            self._answer(connection, head)

    def _answer(self, connection: _Connection, head: bytearray) -> None:
        number = connection.number
        del self._busy[number]
        connection.number = -1
        if _CLOSES in head:
            self._forget(connection)
        else:
            self._idle.append(connection)
        if self._patterns:
            body = bytes(connection.read[len(head) :])
            found = [pattern.search(body) for pattern in self._patterns]
            self.words[number] = tuple("" if one is None else (one[1] or b"").decode() for one in found)
        self._over(number, int(connection.read[9:12]))

    def _over(self, number: int, status: int) -> None:
        self.status[number] = status
        self.took_s[number] = self._now_s - self._planned_s[number]

    def _lose(self, connection: _Connection) -> None:
        """Note that a connection ended, and with it what was under way."""
        if connection.number >= 0:
            del self._busy[connection.number]
            self._over(connection.number, 0)
        else:
            self._idle.remove(connection)
        self._forget(connection)

    def _forget(self, connection: _Connection) -> None:
        del self._open[connection.socket.fileno()]
        self._epoll.unregister(connection.socket)
        connection.socket.close()

    def _give_up(self) -> None:
        """Wait no longer for what has taken too long; the oldest stand first."""
        while self._busy:
            number = next(iter(self._busy))
            if self._now_s - self.sent_s[number] < PATIENCE_S:
                return
            self._lose(self._busy[number])


def main() -> None:
    """Do one job."""
    job = pickle.load(sys.stdin.buffer)  # noqa: S301  # from the process that started this one
    sender = Sender(**job, orders=sys.stdin.buffer)
    began_s = time.monotonic()
    pickle.dump(began_s, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    pickle.dump(sender.run(began_s), sys.stdout.buffer)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
