"""Probes and metrics."""

from typing import Any, Final

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from serving.health import Checkup
from serving.metrics import Metrics
from serving.responses import JsonResponse
from serving.schemas import Alive, Health, Ready

UNREADY: Final[dict[int | str, dict[str, Any]]] = {503: {"model": Ready, "description": "No model is served yet."}}
UNWELL: Final[dict[int | str, dict[str, Any]]] = {503: {"model": Health, "description": "Not able to answer well."}}


async def health_answer(checkup: Checkup) -> JsonResponse:
    """Return the state of each thing that the server depends on."""
    state = await checkup.health()
    return JsonResponse(state, status_code=503 if state["status"] == "unavailable" else 200)


def ready_answer(checkup: Checkup) -> JsonResponse:
    """Return 200 once a model is served."""
    return JsonResponse({"ready": checkup.ready}, status_code=200 if checkup.ready else 503)


def operations_router(checkup: Checkup, metrics: Metrics) -> APIRouter:
    """Return the routes that probes and Prometheus read."""
    router = APIRouter(tags=["operations"])

    @router.get(
        "/health",
        operation_id="health",
        summary="State of server and services",
        response_model=Health,
        responses=UNWELL,
    )
    async def health() -> JsonResponse:
        """Answer with the state of each thing that the server depends on."""
        return await health_answer(checkup)

    @router.get("/health/live", operation_id="health_live", summary="Is the process alive?", response_model=Alive)
    async def health_live() -> JsonResponse:
        """Answer as long as the event loop turns."""
        return JsonResponse({"alive": True})

    @router.get(
        "/health/ready",
        operation_id="health_ready",
        summary="Should it get traffic?",
        response_model=Ready,
        responses=UNREADY,
    )
    async def health_ready() -> JsonResponse:
        """Answer 200 once a model is served."""
        return ready_answer(checkup)

    @router.get(
        "/metrics",
        operation_id="metrics",
        summary="Prometheus series",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format."}},
    )
    async def prometheus() -> Response:
        """Answer with all series."""
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return router
