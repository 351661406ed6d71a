"""Recommendations: by user id, or with a body that brings history, candidates and context."""

from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import AfterValidator

from serving.asks import DEFAULT_K, MAX_ACTIONS, MAX_CATEGORIES, MAX_EXCLUDED, MAX_K, Ask, Kind
from serving.bodies import read_body
from serving.deadline import MAX_DEADLINE_MS
from serving.openapi import BODY_PROBLEMS, PROBLEMS, json_body, ref
from serving.path_ids import ANY
from serving.pipeline import Pipeline, Reply
from serving.responses import JsonResponse
from serving.schemas import KIND, SEEN_ACTIONS, ExperimentId, RecommendAnswer, RecommendRequest, without_nul

MAX_TAGS: Final = 1024
RECOMMENDATION_ID: Final = "X-Recommendation-Id"

DeadlineMs = Annotated[
    int | None,
    Header(
        alias="X-Deadline-Ms",
        ge=1,
        le=MAX_DEADLINE_MS,
        description="How long the answer may take; left out, the server decides.",
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(max_length=MAX_TAGS, description="`ETag` of the list at hand: 304 where it is still the one to show."),
]
PathId = Annotated[
    str, Path(min_length=1, max_length=256, description="Any text without U+0000."), AfterValidator(without_nul)
]
QueryId = Annotated[
    Annotated[str, AfterValidator(without_nul)] | None,
    Query(min_length=1, max_length=256, description="Any text without U+0000."),
]

_EXAMPLES: Final[dict[str, Any]] = {
    "anonymous session": {"history": [{"item_id": "i1", "action": "like"}, {"item_id": "i2"}], "k": 10},
    "rank a list of one's own": {"user_id": "u1", "candidates": ["i1", "i2", "i3"]},
    "filtered and explained": {"user_id": "u1", "categories": ["Drama"], "exclude": ["i9"], "explain": True},
}


def recommend_router(pipeline: Pipeline) -> APIRouter:
    """Return the routes that recommend."""
    router = APIRouter(tags=["recommendations"], responses=PROBLEMS)

    @router.get(
        f"/api/v1/recommend/{{user_id:{ANY}}}",
        operation_id="recommend_for_user",
        summary="Recommend items to a user",
        response_model=RecommendAnswer,
        responses={304: {"description": "The list is the one of `If-None-Match`; it counts as shown again."}},
    )
    async def recommend_for_user(  # noqa: PLR0917  # FastAPI passes names
        user_id: PathId,
        k: Annotated[int, Query(ge=1, le=MAX_K, description="Items wanted.")] = DEFAULT_K,
        type: Annotated[Kind, Query(description=KIND)] = "feed",  # noqa: A002  # the API's word
        item_id: Annotated[
            QueryId,
            Query(description="With type `similar`: the item whose like are wanted; other types pay no heed to it."),
        ] = None,
        categories: Annotated[
            list[str],
            Query(max_length=MAX_CATEGORIES, description="Only items in at least one; repeated or by commas."),
        ] = [],  # noqa: B006  # FastAPI copies defaults
        exclude: Annotated[
            list[str],
            Query(max_length=MAX_EXCLUDED, description="Items that must not come back; repeated or by commas."),
        ] = [],  # noqa: B006  # FastAPI copies defaults
        include_seen: Annotated[
            bool | None,
            Query(description="Whether items that the user had may come back; left out, the served version decides."),
        ] = None,
        seen_actions: Annotated[
            list[str], Query(max_length=MAX_ACTIONS, description=f"{SEEN_ACTIONS} Repeated or by commas.")
        ] = [],  # noqa: B006  # FastAPI copies defaults
        diversity: Annotated[
            float | None,
            Query(ge=0, le=1, description="How much the list avoids items like those above; as the server is set."),
        ] = None,
        experiment_id: Annotated[
            ExperimentId | None, Query(description="Echoed, and kept with the impression.")
        ] = None,
        explain: Annotated[bool, Query(description="Adds ranks by source and feature values.")] = False,  # noqa: FBT002
        deadline_ms: DeadlineMs = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Answer with a ranked list from the user's latest interactions; what is missing is said, never an error."""
        ask = Ask(
            user_id=user_id,
            k=k,
            kind=type,
            item_id=item_id,
            categories=by_commas(categories),
            exclude=by_commas(exclude),
            include_seen=include_seen,
            seen_actions=by_commas(seen_actions),
            experiment_id=experiment_id,
            explain=explain,
            diversity=diversity,
            deadline_s=seconds(deadline_ms),
        )
        return _response(await pipeline.recommend(ask), if_none_match)

    @router.post(
        "/api/v1/recommend",
        operation_id="recommend",
        summary="Recommend with inline history, candidates or context",
        response_model=RecommendAnswer,
        responses=BODY_PROBLEMS,
        openapi_extra=json_body(ref(RecommendRequest), _EXAMPLES),
    )
    async def recommend(request: Request, deadline_ms: DeadlineMs = None) -> Response:
        """Answer with a ranked list for a known user, an anonymous session, or a list to be ranked."""
        body = await read_body(request, RecommendRequest)
        return _response(await pipeline.recommend(replace(body.ask(), deadline_s=seconds(deadline_ms))))

    return router


def _response(reply: Reply, if_none_match: str | None = None) -> Response:
    """Return the answer, or 304 where the client has the list; either has a recommendation id of its own."""
    headers = {"ETag": reply.etag, RECOMMENDATION_ID: reply.body["recommendation_id"]}
    if if_none_match is not None and reply.etag in (tag.strip() for tag in if_none_match.split(",")):
        return Response(status_code=304, headers=headers)
    return JsonResponse(reply.body, headers=headers)


def seconds(milliseconds: int | None) -> float | None:
    """Return a deadline in seconds, None where there is none."""
    return None if milliseconds is None else milliseconds / 1000


def by_commas(values: list[str]) -> list[str]:
    """Return values as they are and, where they hold commas, their parts too: an id may hold a comma itself.

    >>> by_commas(["a,b", "c"])
    ['a,b', 'a', 'b', 'c']
    """
    return [part for value in values for part in ((value, *value.split(",")) if "," in value else (value,))]
