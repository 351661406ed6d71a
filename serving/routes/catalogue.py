"""Changes of items and users, all by the way of events: the latest by `occurred_at` holds, the history is kept."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request

from serving.auditing import By, by_whom
from serving.auth import ADMIN_PROBLEMS, Require
from serving.direct import DirectRoute, IdempotencyKey
from serving.forms import ITEMS, USERS, item_deletion, item_patch, user_patch
from serving.notes import Notes
from serving.openapi import BODY_PROBLEMS, PROBLEMS, bodies_of, json_body, ref
from serving.path_ids import ANY
from serving.posted import EVENTS_PROBLEM, ItemChange, PostedItem, PostedItems, PostedUser, PostedUsers, UserChange
from serving.posting import Poster
from serving.responses import JsonResponse, accepted
from serving.routes.recommend import PathId
from serving.schemas import EventsAnswer

_ITEM: Final = {"item_id": "i1", "title": "Heat", "text": "A thief and a detective.", "categories": ["Crime", "Drama"]}
_TEXT: Final = {"item_id": "q1", "text": "You have power over your mind.", "author": "M. Aurelius"}
_ITEMS: Final[dict[str, Any]] = {
    "one item": _ITEM,
    "a text": _TEXT,
    "many": {"items": [_ITEM, {"item_id": "i2", "title": "Collateral", "stock": 3, "attributes": {"year": 2004}}]},
    "some members only": {"item_id": "i1", "partial": True, "hidden": True},
}
_USER: Final = {"user_id": "u1", "attributes": {"language": "en"}}
_USERS: Final[dict[str, Any]] = {
    "one user": _USER,
    "many": {"users": [_USER]},
    "some attributes only": {"user_id": "u1", "partial": True, "attributes": {"language": None, "city": "Graz"}},
}
_ACCEPTED: Final[dict[str, Any]] = {
    "status_code": 202,
    "response_model": EventsAnswer,
    "responses": {**BODY_PROBLEMS, **EVENTS_PROBLEM},
}


def catalogue_router(poster: Poster, notes: Notes, admin: Require) -> APIRouter:
    """Return the routes that change items and users."""
    router = APIRouter(responses=PROBLEMS)
    router.include_router(_items(poster))
    router.include_router(_users(poster))

    @router.delete(
        f"/api/v1/items/{{item_id:{ANY}}}",
        operation_id="delete_item",
        summary="Take an item out of all lists",
        tags=["items"],
        status_code=202,
        response_model=EventsAnswer,
        responses={**ADMIN_PROBLEMS, **EVENTS_PROBLEM},
    )
    async def delete_item(
        item_id: PathId, by: Annotated[By, Depends(by_whom(admin))], idempotency_key: IdempotencyKey = None
    ) -> JsonResponse:
        """Mark the item as deleted until a whole version of it comes; its history stays."""
        posted = await poster.post(b"{}", idempotency_key, item_deletion(item_id))
        await notes.add(by.deed("delete", item_id))
        return accepted(posted)

    return router


def _items(poster: Poster) -> APIRouter:
    direct = APIRouter(route_class=DirectRoute)

    @direct.post(
        "/api/v1/items",
        operation_id="post_items",
        summary="Add or change items",
        tags=["items"],
        openapi_extra=json_body(bodies_of(PostedItem, PostedItems), _ITEMS),
        **_ACCEPTED,
    )
    async def post_items(request: Request, idempotency_key: IdempotencyKey = None) -> JsonResponse:
        """Take whole items, or with `partial` only what changes; 202 once Kafka's replicas have them."""
        return accepted(await poster.post(await request.body(), idempotency_key, ITEMS))

    @direct.patch(
        f"/api/v1/items/{{item_id:{ANY}}}",
        operation_id="patch_item",
        summary="Change some members of an item",
        tags=["items"],
        openapi_extra=json_body(ref(ItemChange), {"hide": {"hidden": True}, "author": {"author": "Seneca"}}),
        **_ACCEPTED,
    )
    async def patch_item(request: Request, item_id: PathId, idempotency_key: IdempotencyKey = None) -> JsonResponse:
        """Change the members that the body names; of `attributes`, the keys that it names, and null takes one away."""
        return accepted(await poster.post(await request.body(), idempotency_key, item_patch(item_id)))

    return direct


def _users(poster: Poster) -> APIRouter:
    direct = APIRouter(route_class=DirectRoute)

    @direct.post(
        "/api/v1/users",
        operation_id="post_users",
        summary="Add or change users",
        tags=["users"],
        openapi_extra=json_body(bodies_of(PostedUser, PostedUsers), _USERS),
        **_ACCEPTED,
    )
    async def post_users(request: Request, idempotency_key: IdempotencyKey = None) -> JsonResponse:
        """Take users' attributes, or with `partial` only what changes; 202 once Kafka's replicas have them."""
        return accepted(await poster.post(await request.body(), idempotency_key, USERS))

    @direct.patch(
        f"/api/v1/users/{{user_id:{ANY}}}",
        operation_id="patch_user",
        summary="Change some attributes of a user",
        tags=["users"],
        openapi_extra=json_body(ref(UserChange), {"set and take away": {"attributes": {"city": "Graz", "age": None}}}),
        **_ACCEPTED,
    )
    async def patch_user(request: Request, user_id: PathId, idempotency_key: IdempotencyKey = None) -> JsonResponse:
        """Change the attributes that the body names; null takes one away."""
        return accepted(await poster.post(await request.body(), idempotency_key, user_patch(user_id)))

    return direct
