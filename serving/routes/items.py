"""Items as clients read them: one, lists, numbers, search, similar ones."""

from time import perf_counter
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request

from serving.asks import DEFAULT_K, MAX_K
from serving.bodies import read_body
from serving.item_reading import ItemReader
from serving.item_schemas import (
    ItemAnswer,
    ItemsAnswer,
    ItemStatsAnswer,
    SearchAnswer,
    SearchRequest,
    SimilarAnswer,
)
from serving.openapi import BODY_PROBLEMS, PROBLEMS, json_body, ref
from serving.path_ids import ANY, LastSegment
from serving.problems import Problem
from serving.responses import JsonResponse
from serving.routes.recommend import PathId
from serving.similar import Asked, Similar
from serving.text_search import Search

MAX_PAGE: Final = 100
MAX_CURSOR: Final = 1200
_UNKNOWN: Final[dict[int | str, dict[str, Any]]] = {404: {"model": Problem, "description": "No such item is known."}}
_SEARCHES: Final[dict[str, Any]] = {
    "free text": {"query": "a thief and a detective", "k": 10},
    "filtered": {"query": "stoic letters", "categories": ["Philosophy"], "exclude": ["i9"]},
}


def items_router(reader: ItemReader, search: Search, similar: Similar) -> APIRouter:
    """Return the routes that read items; those with fixed names come before those that take any id."""
    router = APIRouter(tags=["items"], responses=PROBLEMS)
    router.include_router(_searching(search, similar))
    router.include_router(_reading(reader))
    return router


def _reading(reader: ItemReader) -> APIRouter:
    router = APIRouter()

    @router.get(
        "/api/v1/items/stats",
        operation_id="item_stats",
        summary="How many items, and how many wait to be embedded",
        response_model=ItemStatsAnswer,
    )
    async def item_stats() -> JsonResponse:
        """Answer with counts of now; an item whose id is `stats` is found in lists and by search only."""
        return JsonResponse(await reader.stats())

    @router.get("/api/v1/items", operation_id="list_items", summary="List items", response_model=ItemsAnswer)
    async def list_items(
        cursor: Annotated[
            str | None, Query(min_length=1, max_length=MAX_CURSOR, description="`next` of the page before.")
        ] = None,
        category: Annotated[
            str | None, Query(max_length=256, pattern="^[^\\x00]*$", description="Only items in it.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items wanted.")] = DEFAULT_K,
        include_hidden: Annotated[  # noqa: FBT002  # FastAPI passes names
            bool, Query(description="Also items that may not be shown now: hidden, expired, sold out.")
        ] = False,
    ) -> JsonResponse:
        """Answer with items newest first, by when they first came: paging misses and repeats none, whatever changes."""
        page = await reader.page(cursor, limit=limit, category=category, include_hidden=include_hidden)
        return JsonResponse(page)

    @router.get(
        f"/api/v1/items/{{item_id:{ANY}}}",
        operation_id="get_item",
        summary="Read an item",
        response_model=ItemAnswer,
        responses=_UNKNOWN,
    )
    async def get_item(item_id: PathId) -> JsonResponse:
        """Answer with what the catalogue says of an item now, hidden or not; 404 once it is deleted."""
        return JsonResponse(await reader.item(item_id))

    return router


def _searching(search: Search, similar: Similar) -> APIRouter:
    router = APIRouter(route_class=LastSegment)

    @router.post(
        "/api/v1/items/search",
        operation_id="search_items",
        summary="Search in texts",
        response_model=SearchAnswer,
        responses=BODY_PROBLEMS,
        openapi_extra=json_body(ref(SearchRequest), _SEARCHES),
    )
    async def search_items(request: Request) -> JsonResponse:
        """Answer with the items whose titles, authors, categories and texts match best, of all that exist now."""
        started = perf_counter()
        body = await read_body(request, SearchRequest)
        return _timed(await search.search(body.ask()), started)

    @router.get(
        f"/api/v1/items/{{item_id:{ANY}}}/similar",
        operation_id="similar_items",
        summary="Items like an item",
        response_model=SimilarAnswer,
        responses=_UNKNOWN,
    )
    async def similar_items(
        item_id: PathId,
        k: Annotated[int, Query(ge=1, le=MAX_K, description="Items wanted.")] = DEFAULT_K,
        by: Annotated[Asked, Query(description="What makes items alike: users, texts, or both.")] = "both",
    ) -> JsonResponse:
        """Answer with the most similar items that may be shown now; fewer than k where fewer are known."""
        started = perf_counter()
        return _timed(await similar.similar(item_id, k, by), started)

    return router


def _timed(answer: dict[str, Any], started: float) -> JsonResponse:
    answer["took_ms"] = round((perf_counter() - started) * 1000, 3)
    return JsonResponse(answer)
