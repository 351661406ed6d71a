"""What is dropped while a service is away: said when it begins, and with its number when it is over."""

import structlog

log = structlog.get_logger(__name__)


class Losses:
    """Says of a whole outage one thing at its beginning and one at its end, however much comes meanwhile.

    Parameters
    ----------
    begins, ends
        Names of the two lines in the log.
    """

    def __init__(self, begins: str, ends: str) -> None:
        self._begins, self._ends = begins, ends
        self._dropped = 0

    def dropped(self, count: int, error: Exception) -> None:
        """Note that some were."""
        if not self._dropped:
            log.warning(self._begins, count=count, error=str(error))
        self._dropped += count

    def over(self) -> None:
        """Note that some went their way."""
        if self._dropped:
            log.info(self._ends, dropped=self._dropped)
        self._dropped = 0
