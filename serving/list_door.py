"""Answers well-formed requests for lists past the framework: reading their query there takes half their time."""

from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.asks import Ask
from serving.deadline import MAX_DEADLINE_MS
from serving.direct import answer_directly
from serving.list_query import read_query
from serving.metrics import Metrics
from serving.middleware import is_utf8
from serving.pipeline import Pipeline
from serving.replies import MAX_TAGS, respond, seconds

PREFIX: Final = "/api/v1/recommend/"
TEMPLATE: Final = "/api/v1/recommend/{user_id}"
MAX_ID: Final = 256
MAX_DIGITS: Final = 10

_ELSEWHERE: Final = frozenset({b"content-length", b"transfer-encoding"})
"""A body is for the framework to refuse or to pass over."""


class ListDoor:
    """Answers `GET /api/v1/recommend/{user_id}`, and passes on all other requests and whatever is not well-formed.

    So the framework's route says what is wrong with a request, and is what the OpenAPI document describes; both read
    the same form. Tokens are for the framework, too.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, pipeline: Pipeline) -> None:
        self.app = app
        self.metrics = metrics
        self.pipeline = pipeline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(PREFIX):
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        tags, ask = headers.get(b"if-none-match"), _ask_of(scope, headers)
        if ask is None or len(tags or b"") > MAX_TAGS or (ask.explain and b"authorization" in headers):
            await self.app(scope, receive, send)
            return

        async def answer(request_id: str) -> Response:
            del request_id
            return respond(await self.pipeline.recommend(ask), None if tags is None else tags.decode("latin-1"))

        await answer_directly(answer, scope, receive, send, metrics=self.metrics, template=TEMPLATE)


def _ask_of(scope: Scope, headers: dict[bytes, bytes]) -> Ask | None:
    """Return the wish of a request, None where it is not well-formed."""
    user_id, deadline = scope["path"][len(PREFIX) :], headers.get(b"x-deadline-ms")
    if not 1 <= len(user_id) <= MAX_ID or "\0" in user_id or not _ELSEWHERE.isdisjoint(headers):
        return None
    if not (is_utf8(scope["raw_path"]) and is_utf8(scope["query_string"])):
        return None
    milliseconds = None
    if deadline is not None:
        # Few digits alone: whatever else may be a number is for the framework to say.
        if not deadline.isdigit() or len(deadline) > MAX_DIGITS or not 1 <= int(deadline) <= MAX_DEADLINE_MS:
            return None
        milliseconds = int(deadline)
    query = read_query(scope["query_string"])
    return None if query is None else query.ask(user_id, seconds(milliseconds))
