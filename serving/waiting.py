"""Waiting that ends when it should: what is late is left to itself, and nobody waits until it has ended."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from features.contracts.errors import UnavailableError

Answer = TypeVar("Answer")

_left_alone: Final[set[asyncio.Future[object]]] = set()


def answer_within(limit_s: float, ask: Callable[[], Awaitable[Answer]], whose: str) -> "asyncio.Future[Answer]":
    """Return what somebody answers; what is late, or nobody waits for any more, is cancelled and left alone.

    `asyncio.timeout` would wait until a cancelled call has ended: psycopg then asks a server to break off a query, and
    waits for the outcome, which takes ten seconds more where that server hangs. A connection goes back to its pool when
    its call has ended. It is a future, no coroutine: who has a time limit of their own needs no task around it.

    Parameters
    ----------
    limit_s
        Longest time to wait, in seconds: after it the answer is an `UnavailableError`.
    whose
        Who is asked, for the message.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Answer] = loop.create_future()
    asked = asyncio.ensure_future(ask())
    timer = loop.call_later(limit_s, _too_late, answer, f"{whose}: no answer within {limit_s} s")
    asked.add_done_callback(partial(_pass_on, answer))
    answer.add_done_callback(partial(_end, timer, asked))
    return answer


def _too_late(answer: "asyncio.Future[Answer]", why: str) -> None:
    if not answer.done():
        answer.set_exception(UnavailableError(why))


def _pass_on(answer: "asyncio.Future[Answer]", asked: "asyncio.Future[Answer]") -> None:
    if asked.cancelled():
        answer.cancel()
        return
    error = asked.exception()
    if answer.done():
        return
    if error is None:
        answer.set_result(asked.result())
    else:
        answer.set_exception(error)


def _end(timer: asyncio.TimerHandle, asked: "asyncio.Future[Answer]", _answer: "asyncio.Future[Answer]") -> None:
    timer.cancel()
    if not asked.done():
        asked.cancel()
        leave_alone(asked)


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
