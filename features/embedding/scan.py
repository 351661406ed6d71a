"""The scan: all items by id, a stretch at a time; those that lack a vector and wait for none are put into the queue.

The queue alone would do, if nothing were ever lost. The scan finds what lies in no queue: items that were there before
there was one, or before an encoder was, and whatever an operator's hand took away.
"""

import time
from collections.abc import Collection
from typing import Final

from features.db.connection import Connection
from features.db.queries import queries

STRETCH: Final = 5_000
"""Items looked at in one statement: some hundredths of a second, and no more put into the queue than that."""
LOCK: Final = 7_203_005
"""Advisory lock of who scans; any number that nothing else in this database uses."""
MOST_OF_THE_TIME: Final = 20
"""A pause is at least so many times as long as the pass before it: a large catalogue is looked at less often."""


class Scan:
    """Passes over all items, with pauses between them.

    Parameters
    ----------
    pause_s
        Seconds between two passes, at least.
    """

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._after = ""
        self._took_s = 0.0
        self._found = 0
        self._due_s = 0.0

    @property
    def due(self) -> bool:
        """Return whether there is a stretch to look at now."""
        return time.monotonic() >= self._due_s

    @property
    def resting(self) -> bool:
        """Return whether the last pass is over and found nothing."""
        return not self.due and not self._found

    def again(self) -> None:
        """Begin a pass as soon as possible: something changed that may leave items without a vector."""
        self._after, self._took_s, self._found, self._due_s = "", 0.0, 0, 0.0

    def step(self, connection: Connection, digests: Collection[str]) -> int:
        """Return how many items of the next stretch were put into the queue because they lack a vector by an encoder.

        It is 0 also where another embedder scans.
        """
        began_s = time.monotonic()
        with connection.transaction():
            if not queries.try_scan(connection, lock=LOCK):
                return 0
            looked, last, queued = queries.scan_texts(
                connection, after=self._after, digests=list(digests), at_most=STRETCH
            )
        self._took_s += time.monotonic() - began_s
        self._found += queued
        self._after = last or ""
        if looked < STRETCH:
            self._end()
        return int(queued)

    def _end(self) -> None:
        """Rest, or look again at once where something was found: it may not have been all."""
        pause_s = max(self._pause_s, MOST_OF_THE_TIME * self._took_s)
        if self._found:
            self.again()
            return
        self._due_s = time.monotonic() + pause_s
        self._after, self._took_s = "", 0.0
