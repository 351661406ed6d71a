"""Whether histories are what they were: one query at a time for all who ask meanwhile, others while it is slow."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

from features.contracts.errors import UnavailableError
from serving.boundary import done

AT_ONCE: Final = 100
PATIENCE_S: Final = 0.01
"""After this, some times as long as a read takes, the next one begins anyway: one that hangs holds up no others."""
MOST_READS: Final = 3
"""Reads under way at most: they leave more than half of the connections to those who read histories."""

Read = Callable[[Sequence[str]], Awaitable[Mapping[str, int | None]]]
_Asked = Mapping[str, "asyncio.Future[int | None]"]


class Digests:
    """Reads digests of histories; an answer is never older than the question.

    Parameters
    ----------
    read
        Gives the digests of some users; raises `UnavailableError`.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._waiting: dict[str, asyncio.Future[int | None]] = {}
        self._reading: set[asyncio.Task[None]] = set()
        self._slow: set[asyncio.Task[None]] = set()

    async def of(self, user_id: str) -> int | None:
        """Return the digest of a user's history, read after this is asked.

        Raises
        ------
        UnavailableError
            If Postgres is away, or what it says cannot be read.
        """
        answer = self._waiting.get(user_id)
        if answer is None:
            answer = self._waiting[user_id] = asyncio.get_running_loop().create_future()
            self._begin()
        # One who gives up takes nothing from the others.
        return await asyncio.shield(answer)

    def _begin(self) -> None:
        """Read for those who wait, unless a read that is not slow will be over soon."""
        if self._waiting and len(self._slow) == len(self._reading) < MOST_READS:
            self._reading.add(asyncio.create_task(self._work()))

    async def _work(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # it is one
        try:
            while self._waiting:
                await self._next(task)
        finally:
            self._reading.discard(task)

    async def _next(self, task: "asyncio.Task[None]") -> None:
        """Read for those who wait, as many as one query may be about."""
        users = list(self._waiting)[:AT_ONCE]
        asked = {user: self._waiting.pop(user) for user in users}
        patience = asyncio.get_running_loop().call_later(PATIENCE_S, self._is_slow, task)
        try:
            if not await done(partial(self._answer, asked), "digests_defect", count=len(asked)):
                _refuse(asked, UnavailableError("digests of histories cannot be read; the log has the reason"))
        finally:
            patience.cancel()
            self._slow.discard(task)

    def _is_slow(self, task: "asyncio.Task[None]") -> None:
        self._slow.add(task)
        self._begin()

    async def _answer(self, asked: _Asked) -> None:
        try:
            found = await self._read(list(asked))
        except UnavailableError as error:
            _refuse(asked, error)
        else:
            for user_id, answer in asked.items():
                answer.set_result(found.get(user_id))


def _refuse(asked: _Asked, error: UnavailableError) -> None:
    for answer in asked.values():
        answer.set_exception(error)
        answer.exception()  # somebody may have given up waiting: no complaint then
