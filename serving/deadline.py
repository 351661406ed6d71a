"""How long an answer may take, and how long each of its steps."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor, Future
from time import perf_counter
from typing import Final

from features.contracts.errors import MarqueeError
from serving.waiting import Answer, is_done, leave_alone

MAX_DEADLINE_MS: Final = 60_000

LATEST: Final[Mapping[str, float]] = {
    "unchanged": 0.15,
    "profile": 0.4,
    "begin": 0.7,
    "retrieve": 0.75,
    "rank": 0.9,
    "explain": 0.95,
}
"""By which share of its deadline a request must know whether a kept list is still the one, have its history, have begun
to retrieve, have retrieved, be ranked, be explained if it asks for that.

A history comes in a thousandth of a second and ranking takes a few: whoever is later stands in a queue, and what is
left of the time is for an answer without the step. Where the comparison hangs that tells whether a list may be given
again, more than half of the time for a history is left to read it. The last tenth is for what turns a list into bytes.
"""


class LateError(MarqueeError):
    """A step was not done in its time."""


class Deadline:
    """The moment at which a request is to be answered, and what its steps took.

    Parameters
    ----------
    length_s
        Seconds from now.
    clock_s
        Monotonic time in seconds.

    Attributes
    ----------
    took_s
        Seconds by step, in the order in which they were done.
    """

    def __init__(self, length_s: float, clock_s: Callable[[], float] = perf_counter) -> None:
        self._clock_s = clock_s
        self._begun_s = self._step_s = clock_s()
        self._length_s = length_s
        self.took_s: dict[str, float] = {}

    @property
    def spent_s(self) -> float:
        """Return the seconds since the request came."""
        return self._clock_s() - self._begun_s

    def left_s(self, step: str) -> float:
        """Return the seconds until a step of `LATEST` must be done; 0 where it is late."""
        return max(LATEST[step] * self._length_s - self.spent_s, 0.0)

    def lap(self, step: str) -> bool:
        """Note that a step is done, and return whether it was in time; steps not in `LATEST` always are."""
        now_s = self._clock_s()
        self.took_s[step] = self.took_s.get(step, 0.0) + now_s - self._step_s
        self._step_s = now_s
        return now_s - self._begun_s <= LATEST.get(step, 1.0) * self._length_s

    def branch(self) -> "Deadline":
        """Return the same deadline for another thread, whose steps `join` adds."""
        other = Deadline(self._length_s, self._clock_s)
        other._begun_s = self._begun_s  # one of this class
        return other

    def join(self, other: "Deadline") -> None:
        """Take over the steps that were done elsewhere."""
        self.took_s |= other.took_s
        self._step_s = self._clock_s()

    async def wait_for(self, step: str, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return what a step gives.

        What is late goes on by itself: to break off a query costs another round trip, and a thread cannot be stopped.

        Raises
        ------
        LateError
            If it is not there in its time.
        """
        left_s = self.left_s(step)
        if left_s > 0:
            task = asyncio.ensure_future(ask())
            if await is_done(task, left_s):
                return task.result()
            leave_alone(task)
        raise LateError(f"{step}: not done within {left_s * 1000:.0f} ms")

    async def in_thread(self, step: str, executor: Executor, work: Callable[["Deadline"], Answer]) -> Answer:
        """Return what a thread computes; work that has not begun when it is late never will.

        Parameters
        ----------
        work
            Gets the deadline to tell its own steps.

        Raises
        ------
        LateError
            If it is not there in its time.
        """
        branch = self.branch()
        begun: list[Future[Answer]] = []

        def begin() -> "asyncio.Future[Answer]":
            begun.append(executor.submit(work, branch))
            return asyncio.wrap_future(begun[0])

        try:
            answer = await self.wait_for(step, begin)
        except LateError:
            for future in begun:
                future.cancel()
            raise
        self.join(branch)
        return answer
