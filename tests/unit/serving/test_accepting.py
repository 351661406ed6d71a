"""Workers that share a socket hold about as many connections each."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing

import pytest

from ops.local.ports import LOOPBACK
from serving.accepting import Acceptor, Held
from serving.board import Board
from serving.workers import refuse


class Connection(asyncio.Protocol):
    """A connection that is counted while it is open."""

    def __init__(self, held: Held) -> None:
        self._held = held

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        del transport
        self._held.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no longer."""
        del exc
        self._held.discard(self)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """Yield a socket that listens."""
    with socket.create_server((LOOPBACK, 0)) as server:
        server.setblocking(False)  # noqa: FBT003  # the standard library's
        yield server


@asynccontextmanager
async def worker(listening: socket.socket, board: Board, place: int) -> AsyncIterator[tuple[Held, Acceptor]]:
    """Yield what a worker holds; as in a process of its own, by a descriptor of its own."""
    with listening.dup() as own:
        held = Held(board, place)
        acceptor = Acceptor(asyncio.get_running_loop(), own, lambda: Connection(held), board, held)
        yield held, acceptor
        acceptor.close()
        await acceptor.wait_closed()


async def settled(count: int, *workers: Held) -> list[int]:
    """Return how many connections workers hold, once they hold so many together."""
    for _ in range(4000):
        if sum(map(len, workers)) == count:
            break
        await asyncio.sleep(0.005)
    return sorted(map(len, workers))


class Clients(list[socket.socket]):
    """Connections to a socket that listens."""

    def __init__(self, listening: socket.socket) -> None:
        super().__init__()
        self._address = listening.getsockname()

    def connect(self, count: int) -> None:
        """Open so many more."""
        self += [socket.create_connection(self._address) for _ in range(count)]

    def close(self) -> None:
        """Close all."""
        for client in self:
            client.close()


@pytest.fixture
def clients(listening: socket.socket) -> Iterator[Clients]:
    """Yield none, and close those that a test opened, however it ends."""
    with closing(Clients(listening)) as opened:
        yield opened


def test_a_pool_that_connects_at_once_is_spread(listening: socket.socket, clients: Clients) -> None:
    async def inside() -> None:
        board = Board(2)
        async with worker(listening, board, 0) as (one, _), worker(listening, board, 1) as (other, _):
            clients.connect(16)
            assert await settled(16, one, other) in ([7, 9], [8, 8])
            clients.close()
            assert await settled(0, one, other) == [0, 0]

    asyncio.run(inside())


def test_a_worker_that_takes_none_is_not_waited_for(listening: socket.socket, clients: Clients) -> None:
    async def inside() -> None:
        board = Board(3)
        async with worker(listening, board, 0) as (one, _), worker(listening, board, 1) as (other, ends):
            clients.connect(2)
            await settled(2, one, other)
            ends.close()
            clients.connect(4)
            await settled(6, one, other)
            assert len(other) <= 1
            assert board.fewest() == len(one)
            clients.close()
            await settled(0, one, other)

    asyncio.run(inside())


def test_one_that_hangs_loses_its_turn(listening: socket.socket, clients: Clients) -> None:
    async def inside() -> None:
        board = Board(2)
        board.hold(1, 0)
        async with worker(listening, board, 0) as (one, _):
            clients.connect(5)
            assert await settled(5, one) == [5]
            clients.close()
            await settled(0, one)

    asyncio.run(inside())


def test_a_burst_is_taken_in_one_round_by_a_worker_whose_share_it_is(
    listening: socket.socket, clients: Clients
) -> None:
    async def inside() -> None:
        board = Board(1)
        async with worker(listening, board, 0) as (one, _):
            clients.connect(50)
            for _ in range(3):
                await asyncio.sleep(0)
            for _ in range(10):  # each is counted once, from when it was taken until it is a connection
                assert one.count == board.fewest() == 50
                await asyncio.sleep(0)
            assert await settled(50, one) == [50]
            clients.close()
            assert await settled(0, one) == [0]

    asyncio.run(inside())


def test_at_the_end_who_comes_is_refused_once_no_worker_takes_connections(listening: socket.socket) -> None:
    board, address = Board(2), listening.getsockname()
    board.hold(0, 3)
    board.hold(1, 0)
    with listening.dup():  # a worker's, which still answers what was asked
        board.close(0)
        refuse(listening, board)
        socket.create_connection(address, timeout=5).close()
        board.close(1)
        for _ in range(2):
            refuse(listening, board)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address, timeout=5)
