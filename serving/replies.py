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
    if if_none_match is not None and _is_at_hand(reply.etag, if_none_match):
        return Response(status_code=304, headers=headers)
    return JsonResponse(reply.body, headers=headers)


def _is_at_hand(etag: str, if_none_match: str) -> bool:
    """Return whether `If-None-Match` names an entity tag, by weak comparison (RFC 9110, 8.8.3.2).

    >>> _is_at_hand('W/"a"', '"b", "a"'), _is_at_hand('W/"a"', "*"), _is_at_hand('W/"a"', 'W/"b"')
    (True, True, False)
    """
    named = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return not named.isdisjoint((etag.removeprefix("W/"), "*"))


def seconds(milliseconds: int | None) -> float | None:
    """Return a deadline in seconds, None where there is none."""
    return None if milliseconds is None else milliseconds / 1000
