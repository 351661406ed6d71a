"""Whether histories are what they were: one query at a time for all who ask meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

from features.contracts.errors import UnavailableError
from serving.boundary import done

AT_ONCE: Final = 100

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
        self._reading: asyncio.Task[None] | None = None

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
            if self._reading is None:
                self._reading = asyncio.create_task(self._work())
        # One who gives up takes nothing from the others.
        return await asyncio.shield(answer)

    async def _work(self) -> None:
        try:
            while self._waiting:
                users = list(self._waiting)[:AT_ONCE]
                asked = {user: self._waiting.pop(user) for user in users}
                if not await done(partial(self._answer, asked), "digests_defect", count=len(asked)):
                    _refuse(asked, UnavailableError("digests of histories cannot be read; the log has the reason"))
        finally:
            self._reading = None

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
