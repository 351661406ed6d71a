"""A guard around a service that may be away: a deadline for each call, and quick refusals while it is away."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from features.contracts.errors import UnavailableError
from serving.reach import Reach
from serving.waiting import Answer, answer_within


class Guard:
    """Lets calls through until several in a row failed, then refuses at once for a while, then tries again.

    Without it every request would wait for its own deadline while the service is away.

    Parameters
    ----------
    name
        The service, for messages.
    timeout_s
        Longest time that a call may take, in seconds.
    rest_s
        How long calls are refused then, in seconds.
    failures
        How many calls in a row must fail before: a single slow one says little.
    clock_s
        Monotonic time in seconds.
    reach
        Hears what each call shows.
    answers
        Failures by which the service answers: it is there, and other calls go well.
    """

    def __init__(
        self,
        name: str,
        *,
        timeout_s: float,
        rest_s: float,
        failures: int = 3,
        clock_s: Callable[[], float] = time.monotonic,
        reach: Reach | None = None,
        answers: tuple[type[UnavailableError], ...] = (),
    ) -> None:
        self.name = name
        self._answers = answers
        self._reach = reach
        self._timeout_s = timeout_s
        self._rest_s = rest_s
        self._allowed = failures
        self._failed = 0
        self._clock_s = clock_s
        self._closed_until_s = float("-inf")

    @property
    def away(self) -> bool:
        """Return whether calls are being refused now."""
        return self._clock_s() < self._closed_until_s

    async def call(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return what the service answers; a call that takes too long is left to end by itself.

        Raises
        ------
        UnavailableError
            If it is away, too slow, or failed a moment ago.
        """
        return await self.begin(ask)

    def begin(self, ask: Callable[[], Awaitable[Answer]]) -> asyncio.Future[Answer]:
        """Return what `call` waits for, for who has a time limit of their own; who cancels it breaks the call off.

        Raises
        ------
        UnavailableError
            If the service failed a moment ago.
        """
        if self.away:
            raise UnavailableError(f"{self.name}: failed less than {self._rest_s} s ago; not asked again yet")
        answer = answer_within(self._timeout_s, partial(self._asked, ask), self.name)
        answer.add_done_callback(self._note)
        return answer

    async def _asked(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await ask()
        except TimeoutError as error:  # a time limit of its own
            raise UnavailableError(f"{self.name}: {error!r}") from error

    def _note(self, answer: asyncio.Future[Answer]) -> None:
        """Count what became of a call, unless nobody waited for it any more."""
        if answer.cancelled():
            return
        error = answer.exception()
        well = error is None or isinstance(error, self._answers)
        if well:
            self._failed = 0
        elif isinstance(error, UnavailableError):
            self._failure()
        else:
            return
        if self._reach is not None:
            self._reach.hear(well=well)

    def _failure(self) -> None:
        """Count a failure; after the rest a single one is enough to close again."""
        self._failed += 1
        if self._failed >= self._allowed:
            self._closed_until_s = self._clock_s() + self._rest_s
