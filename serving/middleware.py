"""What every request passes, as plain ASGI: a request id, metrics, a limit on bodies."""

import re
import uuid
from time import perf_counter
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metrics import Metrics
from serving.problems import problem_response

MAX_BODY_BYTES: Final = 2 * 1024 * 1024
"""1,000 events of 2 kB: twice what a full batch of large events takes."""

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RequestIdMiddleware:
    """Gives each request an id (the caller's `X-Request-Id` where it is well-formed), in logs and in the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its id."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self.app(scope, receive, send_with_id)


class MetricsMiddleware:
    """Counts and times requests by route template, so that ids never become label values."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and measure it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500

        async def send_seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = perf_counter()
        self.metrics.in_flight.inc()
        try:
            await self.app(scope, receive, send_seen)
        finally:
            self.metrics.in_flight.dec()
            route = getattr(scope.get("route"), "path_format", "unmatched")
            self.metrics.requests.labels(_method(scope), route, str(status)).inc()
            self.metrics.latency.labels(route).observe(perf_counter() - started)


class BodyLimitMiddleware:
    """Refuses bodies over a limit, by their declared length or as soon as they have grown past it."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY_BYTES) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on unless its body is too large."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared[:20]) > self.limit:
            await self._refuse(scope, receive, send)
            return
        read, answered = 0, False

        async def receive_counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.limit:
                raise _TooLargeError
            return message

        async def send_seen(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, receive_counted, send_seen)
        except _TooLargeError:
            if answered:
                raise
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = scope.get("state", {}).get("request_id")
        detail = f"the body is larger than {self.limit} bytes; send it in parts"
        await problem_response(scope["path"], request_id, 413, detail, headers={"Connection": "close"})(
            scope, receive, send
        )


class _TooLargeError(Exception):
    """The body grew past the limit while it was read."""


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _method(scope: Scope) -> str:
    """Return the method as a label; odd ones share one, so that callers cannot make series."""
    return scope["method"] if scope["method"] in _METHODS else "other"
