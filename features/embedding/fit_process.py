"""A fit in a process of its own: the embedder goes on with the encoders there are."""

import os
import subprocess
import sys
import time
from typing import Final

import structlog

from features.settings import Settings

log = structlog.get_logger()

AGAIN_S: Final = 60.0
"""Seconds after which a fit that failed is tried again."""
END_S: Final = 5.0


class FitProcess:
    """At most one running `python -m features encoders fit --if-needed`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._not_before_s = 0.0

    def begin(self, settings: Settings) -> bool:
        """Return whether a fit was begun: not too soon after one that failed."""
        if self.runs() or time.monotonic() < self._not_before_s:
            return False
        command = [sys.executable, "-m", "features", "encoders", "fit", "--if-needed"]
        environment = {
            **os.environ,
            "MARQUEE_DATABASE_URL": settings.database_url.get_secret_value(),
            "MARQUEE_CACHE_DIR": str(settings.cache_dir),
            "MARQUEE_LOG_FORMAT": settings.log_format,
        }
        self._process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603
        return True

    def runs(self) -> bool:
        """Return whether a fit is under way; one that has just failed is noted."""
        if self._process is None or (code := self._process.poll()) is None:
            return self._process is not None
        self._process = None
        if code:
            self._not_before_s = time.monotonic() + AGAIN_S
            log.warning("a fit failed; it is tried again", exit_code=code, after_s=AGAIN_S)
        return False

    def end(self) -> None:
        """End a fit that is under way: nothing of it is kept."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
