"""The front door of events."""

from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel

from serving.direct import DirectRoute, IdempotencyKey
from serving.forms import FAVORITE, FEEDBACK, RATING, SEARCH, WATCH
from serving.openapi import BODY_PROBLEMS, PROBLEMS, bodies_of, json_body, ref
from serving.posted import (
    EVENTS_PROBLEM,
    PostedBatch,
    PostedEvent,
    PostedFavorite,
    PostedFeedback,
    PostedFeedbacks,
    PostedRating,
    PostedSearch,
    PostedWatch,
)
from serving.posting import EVENTS, Poster
from serving.reading import Form
from serving.responses import JsonResponse, accepted
from serving.schemas import EventsAnswer

_LIKE: Final = {"user_id": "u1", "item_id": "i1", "action": "like"}
_EXAMPLES: Final[dict[str, Any]] = {
    "one event": _LIKE,
    "an array": [_LIKE, {"user_id": "u1", "item_id": "i2", "action": "rating", "value": 4.5}],
    "a batch": {"events": [{**_LIKE, "event_id": "e1", "occurred_at": "2026-01-01T00:00:00Z"}]},
    "a catalogue item": {"type": "item", "item_id": "i1", "title": "Heat", "categories": ["Crime", "Drama"]},
}
_CLICKED: Final = {"recommendation_id": "r1", "item_id": "i1", "outcome": "clicked", "user_id": "u1"}
_SHORTCUTS: Final[tuple[tuple[str, str, type[BaseModel], Form, dict[str, Any]], ...]] = (
    ("watch", "Say how much was watched", PostedWatch, WATCH, {"item_id": "i1", "watched_s": 1200, "total_s": 5400}),
    ("search", "Say what was looked for", PostedSearch, SEARCH, {"query": "heist films"}),
    ("rating", "Say how an item was rated", PostedRating, RATING, {"item_id": "i1", "rating": 4.5}),
    ("favorite", "Add or remove a favourite", PostedFavorite, FAVORITE, {"item_id": "i1", "favorite": True}),
)


def events_router(poster: Poster) -> APIRouter:
    """Return the routes that take events."""
    router = APIRouter(tags=["events"], responses=PROBLEMS, route_class=DirectRoute)

    def add(path: str, form: Form, name: str, summary: str, body: dict[str, Any]) -> None:
        async def post(request: Request, idempotency_key: IdempotencyKey = None) -> JsonResponse:
            return accepted(await poster.post(await request.body(), idempotency_key, form))

        router.add_api_route(
            path,
            post,
            methods=["POST"],
            operation_id=name,
            summary=summary,
            description="202 once Kafka's replicas have all of it; 503, quickly, where Kafka does not take it.",
            status_code=202,
            response_model=EventsAnswer,
            responses={**BODY_PROBLEMS, **EVENTS_PROBLEM},
            openapi_extra=body,
        )

    events = json_body(bodies_of(PostedEvent, PostedBatch), _EXAMPLES)
    add("/api/v1/events", EVENTS, "post_events", "Send events", events)
    for name, summary, model, form, example in _SHORTCUTS:
        body = json_body(ref(model), {"an act": {"user_id": "u1", **example}})
        add(f"/api/v1/events/{name}", form, f"post_{name}", summary, body)
    outcomes = {"one outcome": _CLICKED, "many": {"feedback": [_CLICKED]}}
    feedback = json_body(bodies_of(PostedFeedback, PostedFeedbacks), outcomes)
    add("/api/v1/feedback", FEEDBACK, "post_feedback", "Say what became of a recommendation", feedback)
    return router
