"""The front door of events."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, ConfigDict, Field

from serving.bodies import read_json
from serving.openapi import BODY_PROBLEMS, PROBLEMS, json_body, ref
from serving.posting import MAX_EVENTS, Poster
from serving.problems import Problem
from serving.responses import JsonResponse
from serving.schemas import EventsAnswer

_LIKE: Final = {"user_id": "u1", "item_id": "i1", "action": "like"}
_EXAMPLES: Final[dict[str, Any]] = {
    "one event": _LIKE,
    "an array": [_LIKE, {"user_id": "u1", "item_id": "i2", "action": "rating", "value": 4.5}],
    "a batch": {"events": [{**_LIKE, "event_id": "e1", "occurred_at": "2026-01-01T00:00:00Z"}]},
    "a catalogue item": {"type": "item", "item_id": "i1", "title": "Heat", "categories": ["Crime", "Drama"]},
}


class PostedEvent(BaseModel):
    """An event as `docs` has it; members that every event has may be missing here and are stamped.

    Further members depend on `type`; shown are those of an interaction.
    """

    model_config = ConfigDict(extra="allow")

    type: str = Field("interaction", examples=["interaction"])
    event_id: str | None = Field(None, max_length=64, description="Makes sending again harmless.")
    occurred_at: str | None = Field(None, description="RFC 3339 with an offset; missing = now.")
    schema_version: int = 1
    user_id: str | int | None = Field(None, examples=["u1"])
    item_id: str | int | None = Field(None, examples=["i1"])
    action: str | None = Field(None, examples=["like"])
    value: float | None = None


class PostedBatch(BaseModel):
    """Up to 1,000 events."""

    events: list[PostedEvent] = Field(min_length=1, max_length=MAX_EVENTS)


class EventsProblem(Problem):
    """A problem document that says of each event what became of it; accepted ones were sent."""

    results: list[dict[str, Any]]


def events_router(poster: Poster) -> APIRouter:
    """Return the routes that take events."""
    router = APIRouter(tags=["events"], responses=PROBLEMS)
    array = {"type": "array", "items": ref(PostedEvent), "minItems": 1, "maxItems": MAX_EVENTS}

    @router.post(
        "/api/v1/events",
        operation_id="post_events",
        summary="Send events",
        status_code=202,
        response_model=EventsAnswer,
        responses={**BODY_PROBLEMS, 422: {"model": EventsProblem, "description": "At least one event is refused."}},
        openapi_extra=json_body({"anyOf": [ref(PostedBatch), array, ref(PostedEvent)]}, _EXAMPLES),
    )
    async def post_events(
        request: Request,
        idempotency_key: Annotated[
            str | None,
            Header(min_length=1, max_length=256, description="Gives event i, if it has no id, the id uuid5(key, i)."),
        ] = None,
    ) -> JsonResponse:
        """Answer 202 once Kafka's replicas have all events; 503, quickly, where it does not take them."""
        results = await poster.post(await read_json(request), idempotency_key)
        return JsonResponse({"results": results}, status_code=202)

    return router
