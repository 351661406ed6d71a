"""One server process: uvicorn on uvloop, drained on SIGTERM."""

import gc
from typing import Final

import uvicorn

from features.settings import Settings
from serving.app import create_app
from serving.assemble import assemble

DRAIN_S: Final = 15
"""How long requests may take to end after SIGTERM; every honest one is done in well under a second."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests that have begun are answered first."""
    config = uvicorn.Config(
        create_app(assemble(settings)),
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_S,
    )
    # What was imported stays: to look through all of it again and again costs requests a tenth of a second.
    gc.collect()
    gc.freeze()
    uvicorn.Server(config).run()
