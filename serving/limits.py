"""How many requests may be under way: as many as are answered in time, the others are told to come again at once."""

import time
from collections.abc import Callable
from typing import Final

WINDOW_S: Final = 0.1
WINDOW_REQUESTS: Final = 10
"""A limit is looked at again after so much time and so many answers: fewer say little."""
STEEPEST: Final = 2.0
"""By how much a limit changes at most in one look."""


class FlightLimit:
    """A limit on requests under way that finds its own size: throughput times the time that an answer should take.

    By Little's law requests under way are throughput times latency. Where answers take longer than they should, the
    limit is cut by that ratio, which leaves throughput as it is and shortens the queue; where they take less, and the
    limit is in use, it grows. (A gradient limiter whose goal is a deadline, not the latency of an idle server: that one
    would have to be measured again and again, by refusing requests.)

    Parameters
    ----------
    target_s
        How long an answer should take, in seconds.
    lowest, highest
        Bounds of the limit.
    first
        The limit before anything is known; twice the lowest where it is not given.
    show
        Told the limit, at first and whenever it changes.
    clock_s
        Monotonic time in seconds.
    """

    def __init__(
        self,
        target_s: float,
        *,
        lowest: int = 4,
        highest: int = 64,
        first: int | None = None,
        show: Callable[[int], object] = lambda limit: None,  # noqa: ARG005  # nobody looks
        clock_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._target_s = target_s
        self._lowest, self._highest = lowest, highest
        self._clock_s = clock_s
        self._limit = float(min(first or 2 * lowest, highest))
        self._under_way = self._most = 0
        self._answers, self._took_s = 0, 0.0
        self._since_s = clock_s()
        self._show = show
        show(self.limit)

    @property
    def limit(self) -> int:
        """Return how many requests may be under way now."""
        return int(self._limit)

    @property
    def under_way(self) -> int:
        """Return how many are."""
        return self._under_way

    @property
    def is_full(self) -> bool:
        """Return whether another request must be refused."""
        return self._under_way >= int(self._limit)

    def begin(self) -> "Flight":
        """Count a request from now on."""
        self._under_way += 1
        self._most = max(self._most, self._under_way)
        return Flight(self, self._clock_s())

    def end(self, flight: "Flight") -> None:
        """Count a request no longer, and learn of the time that it took."""
        now_s = self._clock_s()
        self._under_way -= 1
        self._answers += 1
        self._took_s += now_s - flight.begun_s
        if now_s - self._since_s >= WINDOW_S and self._answers >= WINDOW_REQUESTS:
            self._look(self._took_s / self._answers)
            self._answers, self._took_s, self._since_s, self._most = 0, 0.0, now_s, self._under_way

    def _look(self, latency_s: float) -> None:
        ratio = min(max(self._target_s / max(latency_s, 1e-9), 1 / STEEPEST), STEEPEST)
        # A limit that nobody comes near says nothing of what would happen there.
        if ratio > 1 and self._most < self._limit / 2:
            return
        wanted = self._limit * (1 + ratio) / 2
        self._limit = min(max(wanted, self._lowest), self._highest)
        self._show(self.limit)


class Flight:
    """A request under way."""

    __slots__ = ("_limit", "_over", "begun_s")

    def __init__(self, limit: FlightLimit, begun_s: float) -> None:
        self._limit = limit
        self._over = False
        self.begun_s = begun_s

    def end(self) -> None:
        """Let another one take its place, if that has not happened yet."""
        if not self._over:
            self._over = True
            self._limit.end(self)
