"""Answers of the pipeline as responses: with an entity tag, or without a body where the client has the list."""

from typing import Final

from starlette.responses import Response

from serving.pipeline import Reply
from serving.responses import JsonResponse

MAX_TAGS: Final = 1024
RECOMMENDATION_ID: Final = "X-Recommendation-Id"


def respond(reply: Reply, if_none_match: str | None) -> Response:
    """Return the answer, or 304 where the client has the list; either has a recommendation id of its own."""
    headers = {"ETag": reply.etag, RECOMMENDATION_ID: reply.body["recommendation_id"]}
    if if_none_match is not None and reply.etag in (tag.strip() for tag in if_none_match.split(",")):
        return Response(status_code=304, headers=headers)
    return JsonResponse(reply.body, headers=headers)


def seconds(milliseconds: int | None) -> float | None:
    """Return a deadline in seconds, None where there is none."""
    return None if milliseconds is None else milliseconds / 1000
