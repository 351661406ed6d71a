"""Routes that are answered past the framework: described like all others, for a third of what its way costs.

What takes events is called thousands of times a second; routing, dependencies and layers of middleware are most of what
such a request costs.
"""

from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter
from typing import Annotated, Final

from fastapi import Header
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.metrics import Metrics
from serving.middleware import request_id_of
from serving.problems import CLIENT_GONE, ProblemError, problem_response
from serving.receiving import (
    BODY_TIMEOUT_S,
    MAX_BODY_BYTES,
    ClientGoneError,
    check_declared,
    read_whole,
    with_rest_ignored,
)

MAX_KEY: Final = 256

IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=MAX_KEY, description="Gives event i, if it has no id, the id uuid5(key, i)."),
]
Endpoint = Callable[..., Awaitable[Response]]


class DirectRoute(APIRoute):
    """Calls its endpoint with the request, what stands in its path, and the `Idempotency-Key`: no dependencies."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Return what answers a request that came by the framework's way."""
        endpoint: Endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            key = checked_key(request.headers.get("idempotency-key"))
            return await endpoint(request, **request.path_params, idempotency_key=key)

        return handle


def checked_key(key: str | None) -> str | None:
    """Return an `Idempotency-Key`.

    Raises
    ------
    ProblemError
        422, if it is empty or too long.
    """
    if key is None or 1 <= len(key) <= MAX_KEY:
        return key
    where = {"path": "header.idempotency-key", "message": f"expected 1 to {MAX_KEY} characters"}
    raise ProblemError(422, "1 value is missing or malformed", errors=[where])


def direct_endpoints(routes: Iterable[BaseRoute]) -> dict[tuple[str, str], tuple[Endpoint, str]]:
    """Return endpoint and template of each direct route without parameters, by method and path."""
    return {
        (method, route.path): (route.endpoint, route.path_format)
        for route in routes
        if isinstance(route, DirectRoute) and "{" not in route.path
        for method in route.methods
    }


class DirectDoor:
    """Answers requests to direct routes by itself and passes all others on.

    It gives them what the middleware gives the others: a request id, metrics, limits of bodies, problem documents.

    Parameters
    ----------
    endpoints
        As `direct_endpoints` returns them; may be filled after this is made.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        endpoints: dict[tuple[str, str], tuple[Endpoint, str]],
        limit: int = MAX_BODY_BYTES,
        timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.endpoints = endpoints
        self.limit = limit
        self.timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        found = self.endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if found is None:
            await self.app(scope, receive, send)
            return
        endpoint, template = found

        async def answer(request_id: str) -> Response:
            return await self._answer(endpoint, request_id, scope, receive)

        await answer_directly(answer, scope, receive, send, metrics=self.metrics, template=template)

    async def _answer(self, endpoint: Endpoint, request_id: str, scope: Scope, receive: Receive) -> Response:
        headers = dict(scope["headers"])
        try:
            check_declared(headers.get(b"content-length", b"").decode("latin-1"), self.limit)
            given = headers.get(b"idempotency-key")
            key = None if given is None else checked_key(given.decode("latin-1"))
            body = await read_whole(receive, self.limit, self.timeout_s)
            return await endpoint(_ReadRequest(scope, body), idempotency_key=key)
        except ProblemError as error:
            await with_rest_ignored(error, receive, self.timeout_s)
            return _refusal(error, request_id, scope)


async def answer_directly(
    answer: Callable[[str], Awaitable[Response]],
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    metrics: Metrics,
    template: str,
) -> None:
    """Answer a request past the framework, with a request id and counted by its route's template."""
    status, started = 500, perf_counter()
    request_id = request_id_of(dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1"))
    scope.setdefault("state", {})["request_id"] = request_id
    metrics.http.in_flight.inc()
    try:
        try:
            response = await answer(request_id)
        except ProblemError as error:
            response = _refusal(error, request_id, scope)
        status = response.status_code
        response.raw_headers.append((b"x-request-id", request_id.encode()))
        await response(scope, receive, send)
    except ClientGoneError:
        status = CLIENT_GONE
    finally:
        metrics.http.in_flight.dec()
        metrics.http.answered(scope["method"], template, status, perf_counter() - started)


def _refusal(error: ProblemError, request_id: str, scope: Scope) -> Response:
    return problem_response(
        scope["path"], request_id, error.status, error.detail, headers=error.headers, members=error.members
    )


class _ReadRequest(Request):
    """A request whose body has been read."""

    def __init__(self, scope: Scope, body: bytes) -> None:
        super().__init__(scope)
        self._body = body
