"""Refuses lists that would only wait by the bytes of their requests: before a parser, a task or an app sees them.

Far beyond what a server can answer most requests are refused, and what that costs is taken from the lists. By way of
parser, task and app a refusal takes nearly three times as long (65 against 24 us of processor, measured).
"""

import asyncio
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

import orjson

from serving.limits import FlightLimit
from serving.middleware import request_id_of
from serving.problems import MEDIA_TYPE, RETRY_AFTER_S, problem_document
from serving.shedding import BUSY, LIST_PATHS, LISTS, kind_of

_FIRST: Final = tuple(f"GET {path}".encode() for path in LIST_PATHS)
"""How the heads of all GETs begin that may be lists."""
_HEAD: Final = re.compile(
    rb"GET (?P<path>/[!-\"$->@-~]*)(?:\?[!-\"$-~]*)? HTTP/1\.1\r\n"
    rb"(?:(?!content-length|transfer-encoding|connection|upgrade|expect)[!#$%&'*+.^_`|~0-9a-z-]+:[^\r\n\0]*\r\n"
    rb"|connection: *keep-alive\r\n)+\r\n",
    re.IGNORECASE,
)
"""One whole request without a body, after which the connection stays. Whatever is else, or odd, goes the long way."""
_REQUEST_ID: Final = re.compile(rb"\r\nx-request-id: *([^\r\n ]*)", re.IGNORECASE)


class TurningAway:
    """Says of bytes that came on an idle connection whether they are a request to be refused, and with which answer.

    Parameters
    ----------
    limit
        Of lists under way.
    count
        Told of each refusal.

    Attributes
    ----------
    limit
        The same.
    """

    def __init__(self, limit: FlightLimit, count: Callable[[], object]) -> None:
        self.limit = limit
        self._count = count
        self._coming = 0

    def refusal(self, data: bytes, loop: asyncio.AbstractEventLoop) -> list[bytes] | None:
        """Return head lines and body of a refusal, None where the request is to go on.

        What goes on counts at once, though its task begins with the next round of the loop: of all that come together
        no more go on than there is room for.
        """
        if not data.startswith(_FIRST):
            return None
        if self.limit.under_way + self._coming < self.limit.limit:
            self._coming += 1
            loop.call_soon(self._came)
            return None
        found = _HEAD.fullmatch(data)
        path = None if found is None else unquote(found["path"].decode("ascii"))
        if path is None or kind_of("GET", path) != LISTS:
            return None
        self._count()
        return _answer(path, data)

    def _came(self) -> None:
        """Leave a request to the app, which counts it from now on if it is a list."""
        self._coming -= 1


def _answer(path: str, data: bytes) -> list[bytes]:
    given = _REQUEST_ID.search(data)
    request_id = request_id_of("" if given is None else given[1].decode("latin-1"))
    body = orjson.dumps(problem_document(path, request_id, 503, BUSY))
    head = (
        f"HTTP/1.1 503 Service Unavailable\r\nretry-after: {RETRY_AFTER_S}\r\nx-request-id: {request_id}\r\n"
        f"content-length: {len(body)}\r\ncontent-type: {MEDIA_TYPE}\r\n"
    )
    return [head.encode("latin-1"), body]
