"""What is popular by Postgres, for answers without a model: read now and then, kept while Postgres is away."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from features.contracts.errors import UnavailableError
from serving.guard import Guard
from serving.seams import Store

DEPTH: Final = 3000
"""Items that are kept: a full list, whatever one request leaves out and a long history beside it."""
FRESH_S: Final = 5.0
"""The query looks at the statistics of all items; what is popular changes more slowly than this."""


class PopularItems:
    """Popular items as of the last few seconds; one reading serves all requests that wait for it.

    Parameters
    ----------
    store, guard
        Postgres, and what keeps a dead one from being asked again and again.
    clock_s
        Monotonic time in seconds.
    """

    def __init__(self, store: Store, guard: Guard, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._guard = guard
        self._clock_s = clock_s
        self._items: Sequence[str] | None = None
        self._read_at_s = float("-inf")
        self._reading = asyncio.Lock()

    async def best(self) -> Sequence[str]:
        """Return external ids, the most popular first.

        Raises
        ------
        UnavailableError
            If they were never read, and cannot be.
        """
        if self._items is not None and self._is_fresh:
            return self._items
        async with self._reading:
            if self._items is None or not self._is_fresh:
                await self._read()
        assert self._items is not None  # noqa: S101  # else reading raised
        return self._items

    @property
    def _is_fresh(self) -> bool:
        return self._clock_s() - self._read_at_s < FRESH_S

    async def _read(self) -> None:
        try:
            self._items = await self._guard.call(lambda: self._store.popular_items(DEPTH))
        except UnavailableError:
            if self._items is None:
                raise
        # After a failure too: what is known serves until the next look.
        self._read_at_s = self._clock_s()
