"""One server process: uvicorn on uvloop, drained on SIGTERM."""

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
        timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_S,
    )
    uvicorn.Server(config).run()
