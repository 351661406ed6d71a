"""How long a body may be, and how long it may take to come: nobody holds a connection's worth of memory for nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from starlette.types import Receive

from serving.problems import ProblemError

MAX_BODY_BYTES: Final = 2 * 1024 * 1024
"""1,000 events of 2 kB: twice what a full batch of large events takes."""
BODY_TIMEOUT_S: Final = 10.0
"""From the end of the head to the end of the body; the largest body takes this at 200 kB/s."""

_CLOSE: Final = {"Connection": "close"}
"""What is left of a refused body is not worth reading."""

Got = TypeVar("Got")


def too_large(limit: int) -> ProblemError:
    """Return the refusal of a body over the limit, in bytes."""
    return ProblemError(413, f"the body is larger than {limit} bytes; send it in parts", headers=_CLOSE)


def too_slow(timeout_s: float) -> ProblemError:
    """Return the refusal of a body that took longer than it may."""
    return ProblemError(408, f"the body did not come within {timeout_s:g} s", headers=_CLOSE)


def check_declared(length: str, limit: int) -> None:
    """Refuse a body by its `Content-Length`.

    Raises
    ------
    ProblemError
        413.
    """
    if length.isdigit() and int(length[:20]) > limit:
        raise too_large(limit)


async def within(deadline: float, timeout_s: float, receive: Callable[[], Awaitable[Got]]) -> Got:
    """Return what comes before a deadline on the loop's clock.

    Raises
    ------
    ProblemError
        408.
    """
    try:
        async with asyncio.timeout_at(deadline):
            return await receive()
    except TimeoutError:
        raise too_slow(timeout_s) from None


async def read_whole(receive: Receive, limit: int, timeout_s: float) -> bytes:
    """Return a body, all of which has come.

    Raises
    ------
    ProblemError
        413 or 408.
    ClientGoneError
        If the client went away before the end.
    """
    deadline = asyncio.get_running_loop().time() + timeout_s
    return await within(deadline, timeout_s, lambda: _all_parts(receive, limit))


async def _all_parts(receive: Receive, limit: int) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        parts.append(part := message.get("body", b""))
        size += len(part)
        if size > limit:
            raise too_large(limit)
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class ClientGoneError(Exception):
    """The client went away while it sent; there is nobody to answer."""
