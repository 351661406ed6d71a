"""Lists are made on the event loop itself, one at a time, and whatever else has come gets its turn between two."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

Answer = TypeVar("Answer")

ROUNDS: Final = 4
"""Of the event loop between two lists where more wait: a connection that comes is accepted, set up, read and, if there
is no room for its request, refused."""


class Turns:
    """Lets one computation of a few milliseconds at a time have the event loop, in the order in which they came.

    Threads would take the interpreter from each other, and from the loop, in the midst of all lists at once.
    """

    def __init__(self) -> None:
        self.busy = asyncio.Lock()
        self._waiting = 0

    async def take(self, work: Callable[[], Answer]) -> Answer:
        """Return what a computation gives, once those before it are done."""
        self._waiting += 1
        try:
            await self.busy.acquire()
        finally:
            self._waiting -= 1
        try:
            # Whoever is refused, or asks for health, does not wait for all who want a list.
            for _ in range(ROUNDS if self._waiting else 1):
                await asyncio.sleep(0)
            return work()
        finally:
            self.busy.release()
