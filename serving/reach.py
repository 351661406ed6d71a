"""Whether a service can be reached: what the last attempt showed, whoever made it. Where nobody does, it is asked."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from features.contracts.errors import UnavailableError

LOOK_EVERY_S: Final = 1.0
"""How soon it is noticed that a service is back."""
FRESH_S: Final = 5.0
"""How long good news is believed: who sends all the time is not asked beside."""
LACKS_EVERY_S: Final = 60.0
"""How soon it is noticed what a service lacks that is asked for other things all the time: a large answer."""


class Reach:
    """Knows whether a service can be reached.

    Parameters
    ----------
    ask
        Returns what the service lacks, in words, once it answers, in a bounded time; `UnavailableError` when it does
        not.
    clock_s
        Monotonic time in seconds.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[Sequence[str]]], clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock_s = clock_s
        self._heard_s = self._asked_s = float("-inf")
        self.lacks: Sequence[str] = ()
        self.well: bool | None = None

    def hear(self, *, well: bool) -> None:
        """Note what an attempt showed."""
        self.well, self._heard_s = well, self._clock_s()

    async def look(self) -> None:
        """Ask, unless good news is fresh and what it lacks was asked a while ago.

        Raises
        ------
        UnavailableError
            If it does not answer.
        """
        now_s = self._clock_s()
        if self.well and now_s - self._heard_s < FRESH_S and now_s - self._asked_s < LACKS_EVERY_S:
            return
        try:
            self.lacks = await self._ask()
            self._asked_s = now_s
        except UnavailableError:
            self.hear(well=False)
            raise
        self.hear(well=True)
