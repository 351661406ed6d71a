"""Trainings that operators ask for."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any, Final, Literal, Protocol, Self

import structlog
from pydantic import BaseModel, ConfigDict, Field, model_validator

from features.contracts.errors import UnavailableError
from features.contracts.times import zulu
from serving.airflow import AirflowRefusedError, TrainingRun, TrainingUnderWayError
from serving.problems import ProblemError, unavailable
from serving.schemas import Instant

log = structlog.get_logger(__name__)

TUNE_TRIALS: Final = 30
"""Of a training of type `tuned`: some minutes on two cores, and what users kept aside do not confirm is not taken."""

_OF_VALUES: Final = frozenset({400, 422})
"""With these Airflow refuses parameters; with others a login, or a DAG that it does not know."""


class TrainRequest(BaseModel):
    """Which training to start."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["full", "tuned"] = Field(
        "full", description=f"`full`: default settings; `tuned`: {TUNE_TRIALS} trials of better ones first."
    )
    since: Instant | None = Field(None, description="Only interactions that were known at or after this.")
    until: Instant | None = Field(None, description="Only what was known before this.")
    reason: str = Field("", max_length=500, description="Kept in the audit, and with the run in Airflow.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("`since` must be before `until`")
        return self

    def conf(self) -> dict[str, Any]:
        """Return the parameters of the run in Airflow that differ from the form's defaults."""
        conf: dict[str, Any] = {"tune_trials": TUNE_TRIALS} if self.type == "tuned" else {}
        if self.since is not None:
            conf["since"] = zulu(self.since)
        if self.until is not None:
            conf["until"] = zulu(self.until)
        return conf


class TrainAnswer(BaseModel):
    """The run that was started."""

    dag_id: str = Field(examples=["train_recommender"])
    run_id: str = Field(description="Of Airflow.", examples=["manual__2026-01-01T00:00:00+00:00"])
    state: str = Field(examples=["queued"])
    link: str = Field(description="Its page in Airflow.")


class Trainer(Protocol):
    """What starts trainings; blocking."""

    def train(self, conf: Mapping[str, Any], note: str) -> TrainingRun:
        """Return the run that was started."""
        ...


class Trainings:
    """Starts trainings beside the requests.

    Parameters
    ----------
    trainer
        Airflow; None where the server has no login there.
    executor
        A thread of its own: Airflow may take seconds.
    """

    def __init__(self, trainer: Trainer | None, executor: Executor) -> None:
        self._trainer = trainer
        self._executor = executor

    async def start(self, asked: TrainRequest, request_id: str) -> TrainingRun:
        """Return the run that was started.

        Raises
        ------
        ProblemError
            409 if a run is under way or the server may not start one, 422 if Airflow refuses a value, 503 if it is
            away.
        """
        trainer = self._trainer
        if trainer is None:
            raise ProblemError(409, "this server has no login at Airflow: set MARQUEE_AIRFLOW_PASSWORD")
        note = f"POST /api/v1/models/train, request {request_id}. {asked.reason}".strip()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, lambda: trainer.train(asked.conf(), note))
        except UnavailableError as error:
            log.warning("training_not_started", error=str(error))
            raise unavailable("Airflow does not answer now; whether the run was started, its page tells") from None
        except TrainingUnderWayError as error:
            raise ProblemError(409, str(error)) from None
        except AirflowRefusedError as error:
            raise ProblemError(422 if error.status in _OF_VALUES else 409, str(error)) from None
