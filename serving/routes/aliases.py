"""Paths by which other recommenders are called: each a thin alias of a route of ours, and described as such."""

from dataclasses import replace
from typing import Annotated, Any, Final, TypedDict

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from serving.asks import MAX_K, Ask
from serving.auditing import By, by_whom
from serving.auth import ADMIN_PROBLEMS, MORE_PROBLEMS, MORE_SECURITY, MaySee, Require
from serving.direct import DirectRoute, IdempotencyKey
from serving.forms import OTHER_EVENTS
from serving.health import Checkup
from serving.list_query import ListQuery
from serving.models import Models
from serving.openapi import BODY_PROBLEMS, PROBLEMS, bodies_of, json_body, ref
from serving.path_ids import ANY
from serving.pipeline import Pipeline
from serving.posted import EVENTS_PROBLEM, OtherBatch, OtherEvent
from serving.posting import Poster
from serving.replies import respond, seconds
from serving.responses import JsonResponse, accepted
from serving.routes.model import UNKNOWN, Limit, Version
from serving.routes.moves import (
    ROLLBACK_BODIES,
    ROLLBACK_PROBLEMS,
    TRAIN_BODIES,
    TRAIN_PROBLEMS,
    ModelOperations,
    RollbackAnswer,
    RollbackRequest,
)
from serving.routes.operations import UNREADY, UNWELL, health_answer, ready_answer
from serving.routes.recommend import AT_HAND, DeadlineMs, IfNoneMatch, PathId
from serving.schemas import Alive, EventsAnswer, Health, ModelVersion, ModelVersions, QueryId, Ready, RecommendAnswer
from serving.trainings import TrainAnswer, TrainRequest

TAG: Final = "aliases"

_LIKE: Final = {"user_id": "u1", "item_id": "i1", "event_type": "like", "timestamp": "2026-01-01T00:00:00Z"}
_EVENTS: Final[dict[str, Any]] = {
    "one event": _LIKE,
    "a batch": {"events": [{**_LIKE, "event_type": "view", "timestamp": 1767225600}]},
}


class Limited(ListQuery):
    """What a list may be asked to be where `k` is called `limit`."""

    limit: int | None = Field(None, ge=1, le=MAX_K, description="Items wanted, as `k`, before which it goes.")

    def limited(self, user_id: str | None, deadline_s: float | None) -> Ask:
        """Return the wish that a query expresses."""
        ask = self.ask(user_id, deadline_s)
        return ask if self.limit is None else replace(ask, k=self.limit)


class OfUser(Limited):
    """What a list may be asked to be where the user is in the query, too."""

    user_id: QueryId | None = Field(None, description="Any text without U+0000; missing = anonymous.")


def aliases_router(  # noqa: PLR0917  # one for each kind of alias
    pipeline: Pipeline,
    poster: Poster,
    models: Models,
    model: ModelOperations,
    checkup: Checkup,
    admin: Require,
    sees: MaySee,
) -> APIRouter:
    """Return all aliases; those with fixed names come before the one that takes any id."""
    router = APIRouter(tags=[TAG])
    router.include_router(_experiments())
    router.include_router(_models(models, sees))
    router.include_router(_moves(model, admin))
    router.include_router(_recommendations(pipeline))
    router.include_router(_events(poster))
    router.include_router(_health(checkup))
    return router


class _Described(TypedDict):
    summary: str
    description: str


def _described(target: str, more: str = "") -> _Described:
    """Return summary and description of an alias."""
    return {"summary": f"Alias of {target}", "description": f"Alias of `{target}`.{more and ' '}{more}"}


def _recommendations(pipeline: Pipeline) -> APIRouter:
    router, target = APIRouter(responses=PROBLEMS), "GET /api/v1/recommend/{user_id}"

    @router.get(
        "/recommend",
        operation_id="alias_recommend",
        response_model=RecommendAnswer,
        responses=AT_HAND,
        **_described(target),
    )
    async def recommend(
        query: Annotated[OfUser, Query()],
        deadline_ms: DeadlineMs = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        ask = query.limited(query.user_id, seconds(deadline_ms))
        return respond(await pipeline.recommend(ask), if_none_match)

    @router.get(
        f"/api/v1/recs/{{user_id:{ANY}}}",
        operation_id="alias_recs",
        response_model=RecommendAnswer,
        responses=AT_HAND,
        **_described(target, "Of users whose ids are `models`, `experiments` or begin with `models/` ask the target."),
    )
    async def recs(
        user_id: PathId,
        query: Annotated[Limited, Query()],
        deadline_ms: DeadlineMs = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        ask = query.limited(user_id, seconds(deadline_ms))
        return respond(await pipeline.recommend(ask), if_none_match)

    return router


def _events(poster: Poster) -> APIRouter:
    router = APIRouter(responses=PROBLEMS, route_class=DirectRoute)

    @router.post(
        "/events",
        operation_id="alias_events",
        status_code=202,
        response_model=EventsAnswer,
        responses={**BODY_PROBLEMS, **EVENTS_PROBLEM},
        openapi_extra=json_body(bodies_of(OtherEvent, OtherBatch), _EVENTS),
        **_described("POST /api/v1/events", "It takes `event_type` and `timestamp` for `action` and `occurred_at`."),
    )
    async def events(request: Request, idempotency_key: IdempotencyKey = None) -> JsonResponse:
        return accepted(await poster.post(await request.body(), idempotency_key, OTHER_EVENTS))

    return router


def _models(models: Models, sees: MaySee) -> APIRouter:
    router = APIRouter(responses=PROBLEMS)
    People = Annotated[bool, Depends(sees)]  # noqa: N806  # a type

    @router.get(
        "/api/v1/recs/models",
        operation_id="alias_models",
        response_model=ModelVersions,
        responses=MORE_PROBLEMS,
        openapi_extra=MORE_SECURITY,
        **_described("GET /api/v1/models"),
    )
    async def list_models(people: People, limit: Limit = 20) -> JsonResponse:
        return JsonResponse(await models.newest(limit, people=people))

    @router.get(
        "/api/v1/recs/models/{version}",
        operation_id="alias_model",
        response_model=ModelVersion,
        responses=UNKNOWN,
        openapi_extra=MORE_SECURITY,
        **_described("GET /api/v1/models/{version}"),
    )
    async def get_model(people: People, version: Version) -> JsonResponse:
        return JsonResponse(await models.one(version, people=people))

    return router


def _moves(model: ModelOperations, admin: Require) -> APIRouter:
    router = APIRouter(tags=["admin"], responses={**PROBLEMS, **ADMIN_PROBLEMS})

    @router.post(
        "/api/v1/recs/models/rollback",
        operation_id="alias_roll_back",
        response_model=RollbackAnswer,
        responses=ROLLBACK_PROBLEMS,
        openapi_extra=json_body(ref(RollbackRequest), ROLLBACK_BODIES),
        **_described("POST /api/v1/models/rollback"),
    )
    async def roll_back(request: Request, by: Annotated[By, Depends(by_whom(admin))]) -> JsonResponse:
        return await model.roll_back(request, by)

    @router.post(
        "/api/v1/recs/train",
        operation_id="alias_train",
        status_code=202,
        response_model=TrainAnswer,
        responses=TRAIN_PROBLEMS,
        openapi_extra=json_body(ref(TrainRequest), TRAIN_BODIES),
        **_described("POST /api/v1/models/train"),
    )
    async def train(request: Request, by: Annotated[By, Depends(by_whom(admin))]) -> JsonResponse:
        return await model.train(request, by)

    return router


def _experiments() -> APIRouter:
    router = APIRouter(responses=PROBLEMS)

    @router.get(
        "/api/v1/experiments",
        operation_id="list_experiments",
        summary="Experiments",
        description="No experiment can be run yet: the array is always empty.",
    )
    async def list_experiments() -> list[dict[str, Any]]:
        return []

    @router.get("/api/v1/recs/experiments", operation_id="alias_experiments", **_described("GET /api/v1/experiments"))
    async def experiments() -> list[dict[str, Any]]:
        return []

    return router


def _health(checkup: Checkup) -> APIRouter:
    router = APIRouter(prefix="/api/v1")

    @router.get(
        "/health",
        operation_id="alias_health",
        response_model=Health,
        responses=UNWELL,
        **_described("GET /health"),
    )
    async def health() -> JsonResponse:
        return await health_answer(checkup)

    @router.get(
        "/health/live", operation_id="alias_health_live", response_model=Alive, **_described("GET /health/live")
    )
    async def health_live() -> JsonResponse:
        return JsonResponse({"alive": True})

    @router.get(
        "/health/ready",
        operation_id="alias_health_ready",
        response_model=Ready,
        responses=UNREADY,
        **_described("GET /health/ready"),
    )
    async def health_ready() -> JsonResponse:
        return ready_answer(checkup)

    return router
