"""What every request passes, as plain ASGI: a request id, metrics, limits of bodies."""

import asyncio
import os
import re
from time import perf_counter
from typing import Final
from urllib.parse import unquote_to_bytes

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metrics import Metrics
from serving.problems import ProblemError, problem_response
from serving.receiving import BODY_TIMEOUT_S, MAX_BODY_BYTES, check_declared, too_large, with_rest_ignored, within

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def request_id_of(given: str) -> str:
    """Return the caller's own id of a request where it is well-formed, else a new one."""
    return given if given and _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()


class RequestIdMiddleware:
    """Gives each request an id (the caller's `X-Request-Id` where it is well-formed), in logs and in the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its id."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = request_id_of(Headers(scope=scope).get("x-request-id", ""))
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self.app(scope, receive, send_with_id)


class Utf8Middleware:
    """Refuses paths and queries whose percent-encoding is no UTF-8: all such ids would be read as one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on where its path and query are text."""
        if scope["type"] == "http":
            for name, raw in (("path", scope["raw_path"]), ("query", scope["query_string"])):
                if not is_utf8(raw):
                    request_id = scope.get("state", {}).get("request_id")
                    detail = f"the percent-encoding of the {name} is not UTF-8"
                    await problem_response(scope["path"], request_id, 400, detail)(scope, receive, send)
                    return
        await self.app(scope, receive, send)


def is_utf8(encoded: bytes) -> bool:
    """Return whether percent-encoding is of a text."""
    try:
        unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        return False
    return True


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
        self.metrics.http.in_flight.inc()
        try:
            await self.app(scope, receive, send_seen)
        finally:
            self.metrics.http.in_flight.dec()
            route = getattr(scope.get("route"), "path_format", "unmatched")
            self.metrics.http.answered(_method(scope), route, status, perf_counter() - started)


class BodyLimitMiddleware:
    """Refuses bodies that are too large, as soon as that is known, and bodies that take too long to come."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY_BYTES, timeout_s: float = BODY_TIMEOUT_S) -> None:
        self.app = app
        self.limit = limit
        self.timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on unless its body is refused."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answered = False

        async def send_seen(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            check_declared(Headers(scope=scope).get("content-length", ""), self.limit)
            await self.app(scope, self._limited(receive), send_seen)
        except (ProblemError, _BodyError) as error:
            if answered:
                raise
            refusal = error.refusal if isinstance(error, _BodyError) else error
            await with_rest_ignored(refusal, receive, self.timeout_s)
            request_id = scope.get("state", {}).get("request_id")
            response = problem_response(
                scope["path"], request_id, refusal.status, refusal.detail, headers=refusal.headers
            )
            await response(scope, receive, send)

    def _limited(self, receive: Receive) -> Receive:
        """Return a way to receive that counts bytes and time until the body is whole."""
        read, more, deadline = 0, True, asyncio.get_running_loop().time() + self.timeout_s

        async def receive_counted() -> Message:
            nonlocal read, more
            if not more:
                return await receive()
            try:
                message = await within(deadline, self.timeout_s, receive)
            except ProblemError as refusal:
                raise _BodyError(refusal) from None
            read, more = read + len(message.get("body", b"")), message.get("more_body", False)
            if read > self.limit:
                raise _BodyError(too_large(self.limit))
            return message

        return receive_counted


class _BodyError(Exception):
    """A refusal that the app's own handlers must not answer: the rest of the body is still to come."""

    def __init__(self, refusal: ProblemError) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _method(scope: Scope) -> str:
    """Return the method as a label; odd ones share one, so that callers cannot make series."""
    return scope["method"] if scope["method"] in _METHODS else "other"
