"""uvicorn's reading of HTTP, with a limit on how long and how large the head of a request may be."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_TIMEOUT_S: Final = 10.0
"""From connecting, or from a request's first byte, until its head is whole; honest heads come in one piece."""
MAX_HEAD_BYTES: Final = 65_536
"""What may have come of a head before it is whole; common proxies allow 8 to 64 kB."""


class GuardedProtocol(HttpToolsProtocol):
    """Closes connections whose request does not begin, or whose head does not end, in time."""

    head_timeout_s: float = HEAD_TIMEOUT_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for a request."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._in_head = False
        self._watch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless a head that is not whole has grown too large."""
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response("the head of the request is too large")
            return
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
        self._watch()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the head is whole."""
        self._in_head = False
        super().on_headers_complete()

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
