"""Taking connections off a socket that workers share, so that all of them hold about as many."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

import structlog

from serving.board import Board

log = structlog.get_logger(__name__)

HEAD_START_S: Final = 0.002
"""What a worker leaves to one with fewer connections, for each that it has more; who is too busy to use it loses its
turn."""
LONGEST_START_S: Final = 0.02
FEWEST_LEFT: Final = 2
LEFT_SHARE: Final = 0.25
"""Of what it holds, how many connections a worker then takes at once that others left. With a burst on busy workers,
one each time would let the last wait for half a second (measured, five times what two workers can answer)."""
NO_ROOM_S: Final = 1.0

Factory = Callable[[], asyncio.Protocol]


class Held(set[Any]):
    """The connections of a worker, as uvicorn keeps them; the board has their number, with those just accepted."""

    def __init__(self, board: Board, place: int) -> None:
        super().__init__()
        self._board = board
        self._place = place
        self._coming: set[Any] = set()
        self.open = False

    def add(self, connection: Any) -> None:
        """Keep a connection, which may have been expected."""
        self._coming.discard(connection)
        super().add(connection)
        self._show()

    def discard(self, connection: Any) -> None:
        """Keep a connection no longer."""
        super().discard(connection)
        self._show()

    @property
    def count(self) -> int:
        """Return how many connections are this worker's."""
        return len(self) + len(self._coming)

    def expect(self, connection: Any) -> None:
        """Count a connection that was accepted and is not among them yet."""
        self._coming.add(connection)
        self._show()

    def forgo(self, connection: Any) -> None:
        """Expect a connection no longer, whether it came or not."""
        self._coming.discard(connection)
        self._show()

    def open_up(self) -> None:
        """Be on the board from now on."""
        self.open = True
        self._show()

    def close_down(self) -> None:
        """Be on the board no longer: nobody waits for a worker that takes no connections."""
        self.open = False
        self._board.close(self._place)

    def _show(self) -> None:
        if self.open:
            self._board.hold(self._place, self.count)


class Acceptor:
    """Accepts connections: a worker that holds more than another lets it go first.

    The kernel wakes all workers, and the first one awake would take all connections of a pool that connects at once
    (measured: 16 of 16).

    Parameters
    ----------
    shared
        The socket that all workers listen on; not closed here.
    held
        This worker's connections.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, shared: socket.socket, factory: Factory, board: Board, held: Held
    ) -> None:
        self._loop = loop
        self._shared = shared
        self._factory = factory
        self._board = board
        self._held = held
        self._begun: set[asyncio.Task[Any]] = set()
        self._waits: asyncio.TimerHandle | None = None
        self._listen()
        held.open_up()

    def close(self) -> None:
        """Take no more connections; those that wait are another worker's."""
        self._held.close_down()
        self._loop.remove_reader(self._shared.fileno())
        if self._waits is not None:
            self._waits.cancel()

    async def wait_closed(self) -> None:
        """Return once what was accepted is among the connections."""
        await asyncio.gather(*self._begun, return_exceptions=True)

    def _listen(self) -> None:
        self._loop.add_reader(self._shared.fileno(), self._ready)

    def _ready(self) -> None:
        """Take connections while others hold as many, then leave the next ones to these for a moment."""
        while self._held.count <= self._board.fewest():
            if not self._accept():
                return
        self._rest(min(HEAD_START_S * (self._held.count - self._board.fewest()), LONGEST_START_S))

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._shared.fileno())
        self._waits = self._loop.call_later(seconds, self._take)

    def _take(self) -> None:
        """Take what others left, a share of what there is at most: they may come to it yet."""
        self._waits = None
        self._listen()
        for _ in range(max(FEWEST_LEFT, int(LEFT_SHARE * self._held.count))):
            if not self._accept():
                return

    def _accept(self) -> bool:
        """Take a connection and return True, or False where none can be had."""
        try:
            connection, _ = self._shared.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # another worker was quicker, or the client is gone
        except OSError as error:
            log.warning("not_accepted", error=str(error))  # no descriptor is free: some will be
            self._rest(NO_ROOM_S)
            return False
        connection.setblocking(False)  # noqa: FBT003  # the standard library's
        protocol = self._factory()
        self._held.expect(protocol)
        task = self._loop.create_task(self._loop.connect_accepted_socket(lambda: protocol, connection))
        self._begun.add(task)
        task.add_done_callback(lambda _: self._held.forgo(protocol))
        task.add_done_callback(self._begun.discard)
        return True
