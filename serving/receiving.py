"""How long a body may be, and how long it may take to come: nobody holds a connection's worth of memory for nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeVar

from starlette.types import Receive

from serving.problems import ProblemError

MAX_BODY_BYTES: Final = 2 * 1024 * 1024
"""1,000 events of 2 kB: twice what a full batch of large events takes."""
BODY_TIMEOUT_S: Final = 10.0
"""From the end of the head to the end of the body; the largest body takes this at 200 kB/s."""

MAX_IGNORED_BYTES: Final = 8 * MAX_BODY_BYTES
"""What is read of a body that is too large, and thrown away: a client hears why only once it may stop sending."""

CLOSE: Final = {"Connection": "close"}
"""What is left of a refused body is not worth reading."""

Got = TypeVar("Got")


def too_large(limit: int) -> ProblemError:
    """Return the refusal of a body over the limit, in bytes."""
    return ProblemError(413, f"the body is larger than {limit} bytes; send it in parts")


def too_slow(timeout_s: float) -> ProblemError:
    """Return the refusal of a body that took longer than it may."""
    return ProblemError(408, f"the body did not come within {timeout_s:g} s", headers=CLOSE)


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


async def with_rest_ignored(refusal: ProblemError, receive: Receive, timeout_s: float) -> ProblemError:
    """Return a refusal, after reading the rest of a body that is too large where that is soon done.

    Otherwise the connection closes with it, and a client that still sends may hear of nothing but that.
    """
    if refusal.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and not await _ignored(receive, timeout_s):
        refusal.headers.update(CLOSE)
    return refusal


async def _ignored(receive: Receive, timeout_s: float) -> bool:
    """Return whether the body ended in time and was not much too large."""
    read = 0
    try:
        async with asyncio.timeout(timeout_s):
            while read <= MAX_IGNORED_BYTES:
                message = await receive()
                if not message.get("more_body", False):
                    return True
                read += len(message.get("body", b""))
    except TimeoutError:
        return False
    return False


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
