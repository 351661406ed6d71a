"""Similar items."""

from time import perf_counter
from typing import Annotated

from fastapi import APIRouter, Query

from serving.asks import DEFAULT_K, MAX_K
from serving.openapi import PROBLEMS
from serving.path_ids import ANY
from serving.problems import Problem
from serving.responses import JsonResponse
from serving.routes.recommend import PathId
from serving.schemas import SimilarAnswer
from serving.similar import Similar


def items_router(similar: Similar) -> APIRouter:
    """Return the routes about items."""
    router = APIRouter(tags=["items"], responses=PROBLEMS)

    @router.get(
        f"/api/v1/items/{{item_id:{ANY}}}/similar",
        operation_id="similar_items",
        summary="Items that the same users like",
        response_model=SimilarAnswer,
        responses={404: {"model": Problem, "description": "The served model does not know the item."}},
    )
    async def similar_items(
        item_id: PathId, k: Annotated[int, Query(ge=1, le=MAX_K, description="Items wanted.")] = DEFAULT_K
    ) -> JsonResponse:
        """Answer with the most similar items that may be shown now; fewer than k where fewer are known."""
        started = perf_counter()
        answer = await similar.similar(item_id, k)
        answer["took_ms"] = round((perf_counter() - started) * 1000, 3)
        return JsonResponse(answer)

    return router
