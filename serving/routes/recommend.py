"""Recommendations: by user id, or with a body that brings history, candidates and context."""

from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import AfterValidator

from serving.asks import Ask
from serving.auth import MORE_PROBLEMS, MORE_SECURITY, MaySee, Shown
from serving.bodies import read_body
from serving.deadline import MAX_DEADLINE_MS
from serving.list_query import ListQuery
from serving.openapi import BODY_PROBLEMS, PROBLEMS, json_body, ref
from serving.path_ids import ANY
from serving.pipeline import Pipeline
from serving.replies import MAX_TAGS, respond, seconds
from serving.schemas import RecommendAnswer, RecommendRequest, without_nul

AT_HAND: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "The list is the one of `If-None-Match`; it counts as shown again."}
}

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

_EXAMPLES: Final[dict[str, Any]] = {
    "anonymous session": {"history": [{"item_id": "i1", "action": "like"}, {"item_id": "i2"}], "k": 10},
    "rank a list of one's own": {"user_id": "u1", "candidates": ["i1", "i2", "i3"]},
    "filtered and explained": {"user_id": "u1", "categories": ["Drama"], "exclude": ["i9"], "explain": True},
}


def recommend_router(pipeline: Pipeline, sees: MaySee) -> APIRouter:
    """Return the routes that recommend; explanations in full are for who `sees` more than everybody."""
    router = APIRouter(tags=["recommendations"], responses={**PROBLEMS, **MORE_PROBLEMS})

    def asked(ask: Ask, token: Shown, deadline_ms: int | None) -> Ask:
        # A token for someone else's gateway is nothing to us, unless it would open something.
        return replace(ask, in_full=ask.explain and sees(token), deadline_s=seconds(deadline_ms))

    @router.get(
        f"/api/v1/recommend/{{user_id:{ANY}}}",
        operation_id="recommend_for_user",
        summary="Recommend items to a user",
        response_model=RecommendAnswer,
        responses=AT_HAND,
        openapi_extra=MORE_SECURITY,
    )
    async def recommend_for_user(
        user_id: PathId,
        query: Annotated[ListQuery, Query()],
        token: Shown,
        deadline_ms: DeadlineMs = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Answer with a ranked list from the user's latest interactions; what is missing is said, never an error.

        What `explain` tells of the user's data, feature values and event ids, is for the admin's token alone.
        """
        return respond(await pipeline.recommend(asked(query.ask(user_id, None), token, deadline_ms)), if_none_match)

    @router.post(
        "/api/v1/recommend",
        operation_id="recommend",
        summary="Recommend with inline history, candidates or context",
        response_model=RecommendAnswer,
        responses=BODY_PROBLEMS,
        openapi_extra={**json_body(ref(RecommendRequest), _EXAMPLES), **MORE_SECURITY},
    )
    async def recommend(request: Request, token: Shown, deadline_ms: DeadlineMs = None) -> Response:
        """Answer with a ranked list for a known user, an anonymous session, or a list to be ranked.

        What `explain` tells of a known user's data is for the admin's token alone; of a session without `user_id` it
        tells all, which came with the request.
        """
        body = await read_body(request, RecommendRequest)
        return respond(await pipeline.recommend(asked(body.ask(), token, deadline_ms)), None)

    return router
