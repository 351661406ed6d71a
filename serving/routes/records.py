"""What was served, and whether it comes out the same again."""

from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AfterValidator

from serving import operator_jobs as jobs
from serving.auditing import By, by_whom
from serving.auth import ADMIN_PROBLEMS, Require
from serving.live import Current
from serving.openapi import PROBLEMS
from serving.operators import Operators
from serving.problems import Problem
from serving.record_schemas import AuditAnswer, RecordAnswer, ReplayAnswer
from serving.replaying import open_from
from serving.responses import JsonResponse
from serving.schemas import without_nul

QUICK_S: Final = 30.0
MOST_ENTRIES: Final = 1_000
_UNKNOWN: Final[dict[int | str, dict[str, Any]]] = {
    404: {
        "model": Problem,
        "description": "The list is not recorded: only a share is, for some time, and not all under load.",
    }
}
_GONE: Final[dict[int | str, dict[str, Any]]] = {
    409: {"model": Problem, "description": "The bundle is not at hand any more, or there was none."}
}
ListId = Annotated[
    str,
    Path(min_length=1, max_length=256, description="`recommendation_id` of the answer."),
    AfterValidator(without_nul),
]


def records_router(operators: Operators, current: Current, admin: Require) -> APIRouter:
    """Return the routes about what was served and what was done."""
    router = APIRouter(tags=["admin"], dependencies=[Depends(admin)], responses={**PROBLEMS, **ADMIN_PROBLEMS})
    settings = operators.settings
    open_model = open_from(settings.cache_dir, lambda: None if current.live is None else current.live.model)

    @router.get(
        "/api/v1/recommendations/{recommendation_id}",
        operation_id="get_recommendation",
        summary="A list as it was served",
        response_model=RecordAnswer,
        responses=_UNKNOWN,
    )
    async def get_recommendation(recommendation_id: ListId) -> JsonResponse:
        """Answer with request, inputs, versions, timings, list and the feature rows of all candidates."""
        job = partial(jobs.show_record, recommendation_id=recommendation_id, share=settings.record_share)
        return JsonResponse(await operators.run(job, timeout_s=QUICK_S))

    @router.post(
        "/api/v1/recommendations/{recommendation_id}/replay",
        operation_id="replay_recommendation",
        summary="Compute a served list again",
        response_model=ReplayAnswer,
        responses={**_UNKNOWN, **_GONE},
    )
    async def replay_recommendation(
        recommendation_id: ListId, by: Annotated[By, Depends(by_whom(admin))]
    ) -> JsonResponse:
        """Compute the list from the recorded inputs, and say whether items, order, scores and rows are the same."""
        job = partial(
            jobs.replay_record,
            recommendation_id=recommendation_id,
            share=settings.record_share,
            open_model=open_model,
            deed=by.deed,
        )
        return JsonResponse(await operators.run(job, timeout_s=QUICK_S))

    @router.get(
        "/api/v1/admin/audit", operation_id="list_audit_events", summary="Who did what", response_model=AuditAnswer
    )
    async def list_audit_events(limit: Annotated[int, Query(ge=1, le=MOST_ENTRIES)] = 100) -> JsonResponse:
        """Answer with what operators did last, newest first; `action` holds every kind of deed that is kept."""
        return JsonResponse(await operators.run(partial(jobs.list_audit, limit=limit), timeout_s=QUICK_S))

    return router
