"""Routes by which operators go back to the version before, and start a training."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from serving.airflow import DAG
from serving.auditing import By, by_whom
from serving.auth import ADMIN_PROBLEMS, Require
from serving.bodies import read_body
from serving.bundle_slot import Outcome
from serving.keeper import Keeper
from serving.moving import AliasMoves
from serving.notes import Notes
from serving.openapi import BODY_PROBLEMS, PROBLEMS, json_body, ref
from serving.problems import Problem
from serving.responses import JsonResponse
from serving.trainings import TrainAnswer, Trainings, TrainRequest

ROLLBACK_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    **BODY_PROBLEMS,
    409: {"model": Problem, "description": "There is no version to go back to."},
}
TRAIN_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    **BODY_PROBLEMS,
    409: {"model": Problem, "description": "A training is under way, its DAG is paused, or Airflow refuses."},
}
ROLLBACK_BODIES: Final[dict[str, Any]] = {"why": {"reason": "fewer clicks since version 8"}, "at once": {}}
TRAIN_BODIES: Final[dict[str, Any]] = {
    "all there is": {"type": "full", "reason": "the catalogue changed"},
    "a range": {"since": "2025-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
    "with a search of settings": {"type": "tuned"},
}


class RollbackRequest(BaseModel):
    """Why to go back."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=500, description="Kept with the move.")


class RollbackAnswer(BaseModel):
    """Where the alias went."""

    alias: str = Field(examples=["champion"])
    version: str = Field(description="What it points to now.", examples=["6"])
    before: str | None = Field(description="What it pointed to.", examples=["7"])
    served: bool = Field(description="Whether the process that answers serves it already; others follow in seconds.")


MOVE_MODELS: Final[list[type[BaseModel]]] = [RollbackRequest, TrainRequest]


class ModelOperations:
    """What the routes do, by whichever of their names they are called."""

    def __init__(self, moves: AliasMoves, trainings: Trainings, keeper: Keeper, notes: Notes) -> None:
        self._moves = moves
        self._trainings = trainings
        self._keeper = keeper
        self._notes = notes

    async def roll_back(self, request: Request, by: By) -> JsonResponse:
        """Go back, and serve what that leads to."""
        # In a hurry nobody writes a body.
        wanted = await read_body(request, RollbackRequest) if await request.body() else RollbackRequest()
        moved = await self._moves.roll_back(by, wanted.reason)
        look = await self._keeper.look(insist=True)
        served = look.outcome in {Outcome.LOADED, Outcome.UNCHANGED} and look.reason is None
        alias = self._keeper.slot.alias
        return JsonResponse({"alias": alias, "version": moved.after, "before": moved.before, "served": served})

    async def train(self, request: Request, by: By) -> JsonResponse:
        """Start a training, and note who wanted it."""
        wanted = await read_body(request, TrainRequest)
        run = await self._trainings.start(wanted, by.request_id)
        await self._notes.add(by.deed("train", run.run_id, **wanted.model_dump(mode="json")))
        answer = {"dag_id": DAG, "run_id": run.run_id, "state": run.state, "link": run.link}
        return JsonResponse(answer, status_code=202)


def moves_router(model: ModelOperations, admin: Require) -> APIRouter:
    """Return the routes that move the alias or make a version for it."""
    router = APIRouter(tags=["model", "admin"], responses={**PROBLEMS, **ADMIN_PROBLEMS})

    @router.post(
        "/api/v1/models/rollback",
        operation_id="roll_back",
        summary="Go back to the version before",
        response_model=RollbackAnswer,
        responses=ROLLBACK_PROBLEMS,
        openapi_extra=json_body(ref(RollbackRequest), ROLLBACK_BODIES),
    )
    async def roll_back(request: Request, by: Annotated[By, Depends(by_whom(admin))]) -> JsonResponse:
        """Let the version before the present one serve again, on all servers; a second call goes forth again."""
        return await model.roll_back(request, by)

    @router.post(
        "/api/v1/models/train",
        operation_id="train_model",
        summary="Start a training",
        status_code=202,
        response_model=TrainAnswer,
        responses=TRAIN_PROBLEMS,
        openapi_extra=json_body(ref(TrainRequest), TRAIN_BODIES),
    )
    async def train_model(request: Request, by: Annotated[By, Depends(by_whom(admin))]) -> JsonResponse:
        """Start `train_recommender` in Airflow; its gate decides, as ever, whether the new version is promoted."""
        return await model.train(request, by)

    return router
