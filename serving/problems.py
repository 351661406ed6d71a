"""Errors on the wire: RFC 9457 problem documents for everything that is refused, and nothing of our insides."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match, Route

from features.contracts.naming import cut_path
from serving.responses import JsonResponse

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"

CLIENT_GONE: Final = 499
"""What metrics say of requests whose client went away before they were whole."""

_WORDS: Final[Mapping[str, str]] = {"model_type": "expected an object", "missing": "is missing"}
"""Instead of pydantic's words, by its name of the error."""

MOST_ERRORS: Final = 100
"""Values that are named in one answer; of others a problem document says how many they are, of events not even that."""

RETRY_AFTER_S: Final = 1
"""What `Retry-After` asks of a client while something behind us is away."""


class Problem(BaseModel):
    """An RFC 9457 problem document."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["1 value is malformed"])
    instance: str = Field(description="Path of the request.", examples=["/api/v1/recommend/u1"])
    request_id: str | None = Field(None, description="Identifies the request in the server's log.")
    errors: list[dict[str, str]] | None = Field(
        None,
        max_length=MOST_ERRORS + 1,
        description=f"What is wrong and where, if it is values: the first {MOST_ERRORS}, and then, with `$` as path, "
        "how many more there are.",
        examples=[[{"path": "query.k", "message": "is 0"}]],
    )


class ProblemError(Exception):
    """A refusal that a route raises; it becomes a problem document.

    Attributes
    ----------
    status
        HTTP status.
    detail
        One sentence for the caller; never a driver's message.
    members
        Further members of the document.
    headers
        Further headers of the response.
    """

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: object
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members


def unavailable(detail: str) -> ProblemError:
    """Return the 503 that asks the client to come again."""
    return ProblemError(503, detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def problem_document(scope_path: str, request_id: str | None, status: int, detail: str) -> dict[str, object]:
    """Return the members that every problem document has."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": scope_path,
        "request_id": request_id,
    }


def problem_response(
    scope_path: str,
    request_id: str | None,
    status: int,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, object] | None = None,
) -> JsonResponse:
    """Return a problem document as a response."""
    document = {**problem_document(scope_path, request_id, status, detail), **(members or {})}
    return JsonResponse(document, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def validation_members(problems: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Return the member `errors` of a problem document from pydantic's errors: where, what, and the value if short."""
    named = [(".".join(str(part) for part in problem["loc"]), _said_of(problem)) for problem in problems[:MOST_ERRORS]]
    more = len(problems) - len(named)
    told = [*named, ("$", f"and {more} more")] if more else named
    return {"errors": [{"path": cut_path(path), "message": message} for path, message in told]}


def _said_of(problem: Mapping[str, Any]) -> str:
    message = _WORDS.get(problem["type"]) or str(problem["msg"]).removeprefix("Value error, ")
    given = problem.get("input")
    return f"{message}; got {given!r:.80}" if isinstance(given, str | int | float) else message


def install_problem_handlers(app: FastAPI) -> None:
    """Let every error of the app leave as a problem document."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_defect)


def _respond(request: Request, status: int, detail: str, **more: Any) -> JsonResponse:
    request_id = request.scope.get("state", {}).get("request_id")
    return problem_response(request.url.path, request_id, status, detail, **more)


async def _on_problem(request: Request, error: Exception) -> JsonResponse:
    assert isinstance(error, ProblemError)  # noqa: S101  # registered for this class only
    return _respond(request, error.status, error.detail, headers=error.headers, members=error.members)


async def _on_validation(request: Request, error: Exception) -> JsonResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for this class only
    problems = error.errors()
    count = f"{len(problems)} value is" if len(problems) == 1 else f"{len(problems)} values are"
    return _respond(request, 422, f"{count} missing or malformed", members=validation_members(problems))


async def _on_http(request: Request, error: Exception) -> JsonResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for this class only
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        taken = ", ".join(_methods_of(request))
        detail = f"this path does not take {request.method:.20}; it takes {taken}"
        return _respond(request, error.status_code, detail, headers={"Allow": taken})
    detail = "there is nothing at this path" if error.status_code == HTTPStatus.NOT_FOUND else error.detail
    return _respond(request, error.status_code, detail, headers=error.headers)


def _methods_of(request: Request) -> list[str]:
    """Return the methods that a path takes: each has a route of its own, and the framework names those of one."""
    routes = (route for route in request.app.routes if isinstance(route, Route))
    matching = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return sorted({method for route in matching for method in route.methods or ()})


async def _on_disconnect(request: Request, error: Exception) -> Response:
    """Note in the metrics that a client went away while it sent; there is nobody to answer."""
    del request, error
    return Response(status_code=CLIENT_GONE)


async def _on_defect(request: Request, error: Exception) -> JsonResponse:
    request_id = request.scope.get("state", {}).get("request_id", "")
    log.error("request_failed", path=request.url.path, request_id=request_id, exc_info=error)
    # Starlette answers defects outside of our middleware, which would have set the header.
    detail = "the server failed; the request id finds the cause in its log"
    return _respond(request, 500, detail, headers={"X-Request-Id": request_id})
