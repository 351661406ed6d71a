"""Items to ask new users about."""

from time import perf_counter
from typing import Annotated

from fastapi import APIRouter, Query

from serving.asks import DEFAULT_K, MAX_K
from serving.item_schemas import OnboardingAnswer
from serving.onboarding import Onboarding
from serving.openapi import PROBLEMS
from serving.responses import JsonResponse


def onboarding_router(onboarding: Onboarding) -> APIRouter:
    """Return the route for new users."""
    router = APIRouter(tags=["recommendations"], responses=PROBLEMS)

    @router.get(
        "/api/v1/onboarding",
        operation_id="onboarding",
        summary="Items to ask a new user about",
        response_model=OnboardingAnswer,
    )
    async def ask_about(
        k: Annotated[int, Query(ge=1, le=MAX_K, description="Items wanted.")] = DEFAULT_K,
    ) -> JsonResponse:
        """Answer with items that many know and that tell tastes apart: two likes among them make a personal list."""
        started = perf_counter()
        answer = await onboarding.items(k)
        answer["took_ms"] = round((perf_counter() - started) * 1000, 3)
        return JsonResponse(answer)

    return router
