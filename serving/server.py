"""One server process: uvicorn on uvloop, drained on SIGTERM."""

import gc
from typing import Final

import uvicorn
from fastapi import FastAPI

from features.settings import Settings
from serving.app import create_app
from serving.assemble import assemble
from serving.protocol import GuardedProtocol

DRAIN_S: Final = 15
"""How long requests may take to end after SIGTERM; every honest one is done in well under a second."""


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


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests that have begun are answered first."""
    config = configure(create_app(assemble(settings)), settings.api_host, settings.api_port)
    # What was imported stays: to look through all of it again and again costs requests a tenth of a second.
    gc.collect()
    gc.freeze()
    uvicorn.Server(config).run()
