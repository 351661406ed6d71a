"""What every command that runs until it is told to stop does first."""

import signal
import threading

import structlog

from features.failpoints import armed
from features.log import configure_logging
from features.settings import Settings


def begin_service(settings: Settings) -> threading.Event:
    """Set logging up and return the event that SIGTERM and SIGINT set; armed failpoints are warned of."""
    configure_logging(settings.log_format)
    if failpoints := armed():
        structlog.get_logger().warning("failpoints are armed", failpoints=failpoints)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
