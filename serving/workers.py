"""Several server processes on one socket: forked once everything is imported, before anything is opened."""

import asyncio
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import structlog

from features.settings import Settings, SettingsError
from serving.accepting import Acceptor, Held
from serving.app import create_app
from serving.assemble import assemble
from serving.board import Board
from serving.metrics import Metrics
from serving.protocol import GuardedProtocol
from serving.server import END_S, DrainingServer, configure, settle
from serving.shared_metrics import folder_of_series, forget, write_as
from serving.supervisor import SIGNALS, Supervisor, places

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What the parent hands to each worker.

    Attributes
    ----------
    listening
        The socket, which listens already.
    board
        How many connections each worker holds.
    metrics
        Folder of the files in which workers count.
    alive
        Both ends of a pipe that nobody writes to: workers that read its end know that their parent is gone.
    """

    listening: socket.socket
    board: Board
    metrics: Path
    alive: tuple[int, int]


class WorkerServer(DrainingServer):
    """A server that shares its socket with others.

    Parameters
    ----------
    ready_to
        Descriptor that gets a byte once it serves.
    """

    def __init__(self, settings: Settings, shared: Shared, place: int, ready_to: int) -> None:
        metrics = Metrics(write_as(place, shared.metrics, shared.board))
        super().__init__(configure(create_app(assemble(settings, metrics)), settings.api_host, settings.api_port))
        self._shared = shared
        self._ready_to = ready_to
        self._held = self.server_state.connections = Held(shared.board, place)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open what the app needs, and only then take connections."""
        del sockets
        await super().startup(sockets=[])
        loop = asyncio.get_running_loop()
        loop.add_reader(self._shared.alive[0], self._left_alone)
        acceptor = Acceptor(loop, self._shared.listening, self._connection, self._shared.board, self._held)
        self.servers = [acceptor]  # type: ignore[list-item]  # closed, and waited for: all that is asked of it
        with suppress(BrokenPipeError):  # the parent is gone, which the pipe `alive` tells too: it ends at once
            os.write(self._ready_to, b".")

    def _connection(self) -> asyncio.Protocol:
        return GuardedProtocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def _left_alone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._shared.alive[0])
        self.should_exit = True


def serve_with_workers(settings: Settings) -> int:
    """Serve with several processes until SIGTERM or SIGINT, and return the exit code."""
    board, listening = Board(places(settings.workers)), bind(settings)
    with folder_of_series() as folder:
        shared = Shared(listening, board, folder, os.pipe())

        def buried(place: int) -> None:
            board.leave(place)
            forget(place, shared.metrics)

        settle()
        ending, start = partial(refuse, listening, board), partial(_fork, settings, shared)
        return Supervisor(settings.workers, start, buried, end_within_s=END_S, ending=ending).run()


def bind(settings: Settings) -> socket.socket:
    """Return the socket that all workers share: connections that wait in its queue outlive any of them.

    Raises
    ------
    SettingsError
        If the server cannot listen there.
    """
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.api_host, settings.api_port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise SettingsError(
            f"cannot listen on {settings.api_host}, port {settings.api_port}: {error.strerror}. End what listens "
            "there, or set MARQUEE_API_HOST and MARQUEE_API_PORT to an address of this machine that is free."
        ) from error
    listening.setblocking(False)  # noqa: FBT003  # the standard library's
    return listening


def refuse(listening: socket.socket, board: Board) -> None:
    """Refuse connections, once no worker takes any: in the queue they would wait for the end, only to be reset then."""
    if not board.takes_any():
        with suppress(OSError):  # it was done before
            listening.shutdown(socket.SHUT_RDWR)


def _fork(settings: Settings, shared: Shared, place: int) -> tuple[int, int]:
    """Start a worker; return its process id and the descriptor on which it says that it is ready."""
    ready_from, ready_to = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready_from)
        _work(settings, shared, place, ready_to)
    os.close(ready_to)
    os.set_blocking(ready_from, False)
    return pid, ready_from


def _work(settings: Settings, shared: Shared, place: int, ready_to: int) -> NoReturn:
    """Be a worker, and end with it."""
    code = 1
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal sends it to all; it is meant for the parent
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        os.close(shared.alive[1])
        shared.board.enter(place, os.getpid())
        server = WorkerServer(settings, shared, place, ready_to)
        settle()
        server.run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else code
    except BaseException:  # the end of the process: nobody above would say what went wrong
        log.exception("worker_failed", place=place)
    finally:
        # Not through the parent's frames, which are on this stack too.
        os._exit(code)
