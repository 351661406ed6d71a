"""What the workers of one server see of each other, in memory that they share."""

import mmap
from typing import Final

_NOBODY: Final = -1
_WIDTH: Final = 8


class Board:
    """Process id and connections of the worker in each place; made before workers are forked, each writes its own.

    Parameters
    ----------
    places
        How many workers there may be at once.
    """

    def __init__(self, places: int) -> None:
        shared = memoryview(mmap.mmap(-1, 2 * places * _WIDTH)).cast("q")
        self._held, self._pids = shared[:places], shared[places:]
        for place in range(places):
            self.leave(place)

    def enter(self, place: int, pid: int) -> None:
        """Say that a process has a place."""
        self._pids[place] = pid

    def hold(self, place: int, connections: int) -> None:
        """Say how many connections the worker of a place holds."""
        self._held[place] = connections

    def close(self, place: int) -> None:
        """Say that the worker of a place takes no connections any more."""
        self._held[place] = _NOBODY

    def leave(self, place: int) -> None:
        """Say that there is nobody in a place."""
        self._held[place] = self._pids[place] = _NOBODY

    def fewest(self) -> int:
        """Return how many connections the worker with the fewest holds, 0 where none takes any."""
        return min((held for held in self._held if held != _NOBODY), default=0)

    def takes_any(self) -> bool:
        """Return whether a worker takes connections."""
        return any(held != _NOBODY for held in self._held)

    def workers(self) -> dict[int, int]:
        """Return the process ids of the workers by their places."""
        return {place: pid for place, pid in enumerate(self._pids) if pid != _NOBODY}
