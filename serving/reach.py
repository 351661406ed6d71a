"""Whether a service can be reached: what the last attempt showed, whoever made it. Where nobody does, it is asked."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from features.contracts.errors import UnavailableError

LOOK_EVERY_S: Final = 1.0
"""How soon it is noticed that a service is back."""
FRESH_S: Final = 5.0
"""How long good news is believed: who sends all the time is not asked beside."""


class Reach:
    """Knows whether a service can be reached.

    Parameters
    ----------
    ask
        Returns once the service answers, in a bounded time; `UnavailableError` when it does not.
    clock_s
        Monotonic time in seconds.
    """

    def __init__(self, ask: Callable[[], Awaitable[None]], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock_s = clock_s
        self._heard_s = float("-inf")
        self.well: bool | None = None

    def hear(self, *, well: bool) -> None:
        """Note what an attempt showed."""
        self.well, self._heard_s = well, self._clock_s()

    async def look(self) -> None:
        """Ask, unless good news is fresh.

        Raises
        ------
        UnavailableError
            If it does not answer.
        """
        if self.well and self._clock_s() - self._heard_s < FRESH_S:
            return
        try:
            await self._ask()
        except UnavailableError:
            self.hear(well=False)
            raise
        self.hear(well=True)
