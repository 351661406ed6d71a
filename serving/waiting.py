"""Waiting that ends when it should: what is late is left to itself, and nobody waits until it has ended."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from features.contracts.errors import UnavailableError

Answer = TypeVar("Answer")

_left_alone: Final[set[asyncio.Future[object]]] = set()


async def answer_within(limit_s: float, ask: Callable[[], Awaitable[Answer]], whose: str) -> Answer:
    """Return what somebody answers; what is late is cancelled and left alone.

    `asyncio.timeout` would wait until a cancelled call has ended: psycopg then asks a server to break off a query, and
    waits for the outcome, which takes ten seconds more where that server hangs. A connection goes back to its pool when
    its call has ended.

    Parameters
    ----------
    limit_s
        Longest time to wait, in seconds.
    whose
        Who is asked, for the message.

    Raises
    ------
    UnavailableError
        If nothing comes in time.
    """
    task = asyncio.ensure_future(ask())
    try:
        if await is_done(task, limit_s):
            return task.result()
    finally:
        if not task.done():
            task.cancel()
            leave_alone(task)
    raise UnavailableError(f"{whose}: no answer within {limit_s} s")


async def is_done(task: "asyncio.Future[Answer]", timeout_s: float) -> bool:
    """Return whether a task ends in time; `asyncio.wait` for one, at half its cost."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not over.done():
            over.set_result(None)

    timer = loop.call_later(timeout_s, wake)
    task.add_done_callback(wake)
    try:
        await over
    finally:
        timer.cancel()
        task.remove_done_callback(wake)
    return task.done()


def leave_alone(task: "asyncio.Future[Answer]") -> None:
    """Keep a task until it ends, and take note of its error, so that the loop does not complain."""
    _left_alone.add(task)  # type: ignore[arg-type]  # whatever it gives

    def over(ended: "asyncio.Future[Answer]") -> None:
        _left_alone.discard(ended)
        if not ended.cancelled():
            ended.exception()

    task.add_done_callback(over)
