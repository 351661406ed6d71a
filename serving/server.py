"""One server process: uvicorn on uvloop, drained on SIGTERM."""

import asyncio
import gc
import socket
import sys
from typing import Final

import uvicorn
from fastapi import FastAPI

from features.settings import Settings
from serving.app import create_app
from serving.assemble import FLUSH_S, assemble
from serving.metrics import Metrics
from serving.protocol import GuardedProtocol

DRAIN_S: Final = 15
"""How long requests may take to end after SIGTERM; every honest one is done in well under a second."""
END_S: Final = DRAIN_S + FLUSH_S + 5
"""How long a process may take to end: it drains, sends what is left to Kafka, and closes what it holds open."""
TURN_S: Final = 0.0005
"""How long a thread may keep the interpreter while others wait for it: a tenth of Python's own, which is as long as
making a list takes."""
_SETTLE_S: Final = 0.05
_PASSES: Final = 3
"""Rounds of the event loop, each of which accepts all connections that wait."""


def configure(app: FastAPI, host: str, port: int, protocol: type[GuardedProtocol] = GuardedProtocol) -> uvicorn.Config:
    """Return how uvicorn serves an app."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_S,
    )


class DrainingServer(uvicorn.Server):
    """uvicorn's server, which loses no connection at its end."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody in any more, and end once all that was asked is answered."""
        # Who waits to be let in is let in first: the kernel resets connections that wait at a socket that is closed.
        for _ in range(_PASSES):
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        # Those let in a moment ago become connections first.
        await asyncio.sleep(_SETTLE_S)
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests that have begun are answered first."""
    config = configure(create_app(assemble(settings, Metrics())), settings.api_host, settings.api_port)
    settle()
    DrainingServer(config).run()


def settle() -> None:
    """Make the process ready for short answers, once all is imported and before anything is opened.

    The search for garbage leaves out what is there now: to look through all of it again and again costs requests a
    tenth of a second, and pages that no search touches stay shared between forked processes.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(TURN_S)
