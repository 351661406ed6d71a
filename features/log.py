"""Structured logs, one configuration for every process."""

import logging
import re
import sys
import time
from collections.abc import Callable
from typing import Final

import structlog

AGAIN_AFTER_S: Final = 60.0
"""How soon a library may say the same thing again; kafka-python would say twelve times a second what it misses."""
_MOST_KNOWN: Final = 1_000
_VARYING: Final = re.compile(r"0x[0-9a-f]+|\d+")


class NotAgain(logging.Filter):
    """Lets a line pass once a minute, whatever the numbers in it, and then says how often it was meant to come.

    Parameters
    ----------
    clock_s
        Monotonic time in seconds.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock_s = clock_s
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is to be written."""
        now_s, message = self._clock_s(), record.getMessage()
        key = record.name, _VARYING.sub("", message)
        said_s, kept_back = self._said.get(key, (float("-inf"), 0))
        if now_s - said_s < AGAIN_AFTER_S:
            self._said[key] = said_s, kept_back + 1
            return False
        if len(self._said) >= _MOST_KNOWN:
            self._said.clear()
        self._said[key] = now_s, 0
        if kept_back:
            record.msg, record.args = f"{message} ({kept_back} more of these since the last one)", ()
        return True


def configure_logging(log_format: str = "console") -> None:
    """Send structlog's and the standard library's lines to stderr, as text for people or JSON for machines."""
    as_json = log_format == "json"
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # In one piece: what writes text and line break apart mixes the lines of processes that share a file.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(NotAgain())
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    handler.setFormatter(_json_formatter(shared, renderer) if as_json else plain)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def _json_formatter(
    shared: list[structlog.typing.Processor], renderer: structlog.typing.Processor
) -> structlog.stdlib.ProcessorFormatter:
    """Return what writes the standard library's lines as structlog's are."""
    return structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
    )
