"""uvicorn's reading of HTTP: limits on heads, refusals before they are read, and an end that no client notices."""

import asyncio
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.middleware import request_id_of
from serving.problems import MEDIA_TYPE, problem_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving.turning_away import TurningAway

HEAD_TIMEOUT_S: Final = 10.0
"""From connecting, or from a request's first byte, until its head is whole; honest heads come in one piece."""
MAX_HEAD_BYTES: Final = 65_536
"""What may have come of a head before it is whole; common proxies allow 8 to 64 kB."""
LINGER_S: Final = 1.0
"""How long a connection without a request stays when the server ends: who asks all the time asks within this."""
UNREAD_TIMEOUT_S: Final = 10.0
"""What was not read of answers holds the next one up for as long, and with it a place among requests under way."""
LEAST_READ_BYTES: Final = 65_536
"""Of an answer larger than that, who reads so much within the time gets the rest: 6.5 kB/s; slow phones read more."""


_NO_HTTP: Final = HTTPStatus.BAD_REQUEST, "the request is not well-formed HTTP"
_LARGE_HEAD: Final = (
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"the head of the request is larger than {MAX_HEAD_BYTES} bytes",
)


def _refusal_of(status: HTTPStatus, detail: str) -> bytes:
    """Return the answer to a request that no route hears of, after which the connection ends."""
    request_id = request_id_of("")  # what it may have said of itself is not read
    body = orjson.dumps(problem_document("", request_id, status, detail))
    head = (
        f"HTTP/1.1 {int(status)} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\nx-request-id: {request_id}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


class GuardedProtocol(HttpToolsProtocol):
    """Closes connections whose request does not begin, whose head does not end, or whose answers are not read, in time.

    When the server ends, a connection that is kept alive gets its next answer with `Connection: close`: to close it at
    once would cut off a request that is on its way.
    """

    head_timeout_s: float = HEAD_TIMEOUT_S
    linger_s: float = LINGER_S
    unread_timeout_s: float = UNREAD_TIMEOUT_S

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP with a problem document, as everything else that is refused."""
        del msg
        self._end_with(*_NO_HTTP)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._answered: RequestResponseCycle | None = None
        self._in_message = False
        self._refused_at_s = -math.inf
        self.leaving = False
        state = getattr(self.app, "state", None)
        self._turning_away: TurningAway | None = getattr(state, "turning_away", None)
        self._count_unread: Callable[[int], None] | None = getattr(state, "count_unread", None)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for a request."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._in_head = False
        self._watch()
        self._stop_waiting_for_reader()
        if self._answered is not None:
            # Of requests that came together uvicorn tells the last one only; the one whose turn it is would write on.
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless a head that is not whole has grown too large."""
        if self._head_bytes > MAX_HEAD_BYTES:
            self._end_with(*_LARGE_HEAD)
            return
        if self._awaits_request and self._turning_away is not None:
            refusal = self._turning_away.refusal(data, self.loop, self.server_state.default_headers)
            if refusal is not None:
                self._refuse(refusal)
                return
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
        self._watch()

    def _end_with(self, status: HTTPStatus, detail: str) -> None:
        if self._count_unread is not None:
            self._count_unread(int(status))
        self.transport.write(_refusal_of(status, detail))
        self.transport.close()

    def _refuse(self, answer: bytes) -> None:
        """Answer a request of which nobody else has heard, and wait for the next one."""
        self.transport.write(answer)
        if self._in_head:
            self._in_head = False
            self._watch()
        self._refused_at_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._keep_alive(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Close, unless a request was refused meanwhile, for which no timer was set anew."""
        left_s = self._refused_at_s + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._keep_alive(left_s)
        else:
            super().timeout_keep_alive_handler()

    def _keep_alive(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head = self._in_message = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the head is whole."""
        self._in_head = False
        super().on_headers_complete()
        if self.leaving:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """Note that all of a request has come: what was refused early may leave its body behind."""
        self._in_message = False
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Note which request is being answered."""
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        """Wait for the client to read, but not for ever."""
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self._stop_waiting_for_reader()
        super().resume_writing()

    def shutdown(self) -> None:
        """Answer what is asked, once more at most, and close."""
        self.leaving = True
        if self._is_idle:
            self.loop.call_later(self.linger_s, self._leave)
        elif not self.cycle.response_started:
            self.cycle.keep_alive = False
        else:
            self._leave()

    @property
    def _awaits_request(self) -> bool:
        """Return whether what comes next can only be the beginning of a request, on a connection that is to stay."""
        return self._is_idle and not self._in_message and not self.leaving

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _leave(self) -> None:
        """Close, unless a request is under way, which is answered first."""
        if self.transport.is_closing():
            return
        if self._is_idle and not self._head_bytes:
            self.transport.close()
        else:
            self.loop.call_later(self.linger_s, self._leave)

    def _watch(self) -> None:
        """Let the time run exactly while a head is awaited; between requests uvicorn's own limit holds."""
        if self._in_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_timeout_s, self._too_late)
        elif not self._in_head and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _wait_for_reader(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._unread_timer = self.loop.call_later(self.unread_timeout_s, self._not_read, unread)

    def _stop_waiting_for_reader(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _not_read(self, unread: int) -> None:
        """Drop the connection, unless much was read since so many bytes were unread."""
        self._unread_timer = None
        if unread - self.transport.get_write_buffer_size() >= LEAST_READ_BYTES:
            self._wait_for_reader()
        else:
            # To close would wait for what is unread.
            self.transport.abort()
