"""Rollbacks that operators ask for, and an eye on moves of the alias that were made past us."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, Protocol

from features.contracts.errors import MarqueeError, UnavailableError
from features.contracts.moves import Moved
from features.moves import Mover, Moves
from serving.auditing import By
from serving.keeper import every
from serving.problems import ProblemError, unavailable

NOTICE_EVERY_S: Final = 2.0
"""A look costs nothing until the alias has moved."""


class Alias(Protocol):
    """The alias, as far as a server moves it; blocking."""

    def roll_back(self) -> Moved:
        """Let it point to the version before."""
        ...


class AliasMoves:
    """Moves the alias for operators, and notes moves that have no entry.

    Parameters
    ----------
    moves, alias
        What moves it, and keeps who did.
    pointed
        Returns where the alias pointed when it was looked at last.
    executor, noticing
        Threads of their own: a move waits for others, for Postgres and for MLflow. So does a look at moves that others
        made, for which no rollback waits.
    """

    def __init__(
        self, moves: Moves, alias: Alias, pointed: Callable[[], str | None], executor: Executor, noticing: Executor
    ) -> None:
        self._moves = moves
        self._alias = alias
        self._pointed = pointed
        self._executor = executor
        self._noticing = noticing
        self._accounted: str | None = None

    async def roll_back(self, by: By, reason: str) -> Moved:
        """Return where the alias went.

        Raises
        ------
        ProblemError
            409 if there is no version to go back to, 503 if the registry is away.
        """
        mover = Mover(by.actor, reason, by.request_id)
        loop = asyncio.get_running_loop()
        going = loop.run_in_executor(self._executor, lambda: self._moves.make("rollback", self._alias.roll_back, mover))
        try:
            # A caller that goes away does not stop what is under way.
            return await asyncio.shield(going)
        except UnavailableError:
            raise unavailable("the model registry is away; nothing was moved") from None
        except MarqueeError as error:
            raise ProblemError(409, str(error)) from None

    async def run(self) -> None:
        """Note moves that have no entry, until cancelled."""
        await every(NOTICE_EVERY_S, "moves", self.notice)

    async def notice(self) -> None:
        """Note the last move if nobody has; at once where the alias points to what is accounted for.

        Raises
        ------
        UnavailableError
            If Postgres or the registry is away: it is tried again.
        """
        pointed = self._pointed()
        if pointed in {None, self._accounted}:
            return
        await asyncio.get_running_loop().run_in_executor(self._noticing, self._moves.notice)
        self._accounted = pointed
