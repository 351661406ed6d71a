"""Refuses lists that would only wait by the bytes of their requests: before a parser, a task or an app sees them.

Far beyond what a server can answer most requests are refused, and what that costs is taken from the lists. So it is
done by the bytes of a request, and in few steps: each finds the processor's caches full of something else. What it
costs is measured by `benchmarks.serving_cpu`.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
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

Headers = Sequence[tuple[bytes, bytes]]


_ALWAYS: Final = {**problem_document("", None, 503, BUSY)}
del _ALWAYS["instance"], _ALWAYS["request_id"]
_BODY: Final = orjson.dumps(_ALWAYS)[:-1]
"""The members of a refusal's problem document that are always the same."""
_HEAD_OF_ANSWER: Final = (
    f"HTTP/1.1 503 Service Unavailable\r\nretry-after: {RETRY_AFTER_S}\r\ncontent-type: {MEDIA_TYPE}\r\n".encode()
)


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
        self._headers: Headers = ()
        self._added = b""

    def refusal(self, data: bytes, loop: asyncio.AbstractEventLoop, headers: Headers) -> bytes | None:
        """Return the whole answer to a request that is refused, None where it is to go on.

        What goes on counts at once, though its task begins with the next round of the loop: of all that come together
        no more go on than there is room for.

        Parameters
        ----------
        headers
            What the server adds to every answer: another list whenever they change.
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
        given = _REQUEST_ID.search(data)
        request_id = request_id_of("" if given is None else given[1].decode("latin-1"))
        return self._answer(path, request_id.encode("ascii"), headers)

    def _answer(self, path: str, request_id: bytes, headers: Headers) -> bytes:
        if headers is not self._headers:
            self._headers, self._added = headers, b"".join(b"%b: %b\r\n" % header for header in headers)
        body = b'%b,"instance":%b,"request_id":"%b"}' % (_BODY, orjson.dumps(path), request_id)
        lines = (_HEAD_OF_ANSWER, request_id, len(body), self._added, body)
        return b"%bx-request-id: %b\r\ncontent-length: %d\r\n%b\r\n%b" % lines

    def _came(self) -> None:
        """Leave a request to the app, which counts it from now on if it is a list."""
        self._coming -= 1
