"""Probes and metrics."""

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from serving.health import Checkup
from serving.metrics import Metrics
from serving.responses import JsonResponse
from serving.schemas import Health


def operations_router(checkup: Checkup, metrics: Metrics) -> APIRouter:
    """Return the routes that probes and Prometheus read."""
    router = APIRouter(tags=["operations"])
    unready: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "Not able to answer well."}}

    @router.get(
        "/health",
        operation_id="health",
        summary="State of server and services",
        response_model=Health,
        responses=unready,
    )
    async def health() -> JsonResponse:
        """Answer with the state of each thing that the server depends on."""
        state = await checkup.health()
        return JsonResponse(state, status_code=503 if state["status"] == "unavailable" else 200)

    @router.get("/health/live", operation_id="health_live", summary="Is the process alive?")
    async def health_live() -> JsonResponse:
        """Answer as long as the event loop turns."""
        return JsonResponse({"alive": True})

    @router.get("/health/ready", operation_id="health_ready", summary="Should it get traffic?", responses=unready)
    async def health_ready() -> JsonResponse:
        """Answer 200 once a model is served."""
        ready = checkup.ready
        return JsonResponse({"ready": ready}, status_code=200 if ready else 503)

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
