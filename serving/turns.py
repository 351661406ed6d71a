"""Lists are made on the event loop itself, one at a time, and whatever else has come gets its turn between two."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


class Turns:
    """Lets one computation of a few milliseconds at a time have the event loop, in the order in which they came.

    Threads would take the interpreter from each other, and from the loop, in the midst of all lists at once.
    """

    def __init__(self) -> None:
        self.busy = asyncio.Lock()

    async def take(self, work: Callable[[], Answer]) -> Answer:
        """Return what a computation gives, once those before it are done."""
        async with self.busy:
            # Whoever is refused, or asks for health, does not wait for all who want a list.
            await asyncio.sleep(0)
            return work()
