"""Trials in MLflow: each a nested run below the run of its training, whichever process finished it."""

from functools import cached_property
from typing import Final

import requests
import structlog
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from features.contracts.errors import UnavailableError
from training.bundle.registry import Registry, translated
from training.publish import EXPERIMENT, TAG_TRAINING, run_of
from training.tuning.trials import Trial

log = structlog.get_logger(__name__)

TAG_TRIAL: Final = "tuning_trial"
TAG_REPRODUCIBLE: Final = "reproducible"
SCORE: Final = "score"
_PARENT: Final = "mlflow.parentRunId"
_PAGE: Final = 1000


class TrialRuns:
    """The nested MLflow runs of one training run's trials; recording a trial again changes nothing.

    Every method raises `UnavailableError` where MLflow cannot be reached.
    """

    def __init__(self, registry: Registry, training_run: str, *, reproducible: bool) -> None:
        self._client = MlflowClient(registry.tracking_uri, registry.tracking_uri)
        self._where = f"trials of run {training_run!r} in MLflow at {registry.tracking_uri}"
        self._training_run = training_run
        self._reproducible = reproducible

    def record(self, trial: Trial) -> None:
        """Keep a trial as a finished run with its settings and score."""
        try:
            self._record(trial)
        except (MlflowException, requests.RequestException) as error:
            raise translated(error, self._where) from error

    def record_if_up(self, trial: Trial) -> None:
        """Keep a trial, or say in the log that MLflow is away: a search does not wait for it."""
        try:
            self.record(trial)
        except UnavailableError as error:
            log.warning("trial not in MLflow yet; the step `register` records it", trial=trial.name, error=str(error))

    def _record(self, trial: Trial) -> None:
        known = self._known.get(trial.name)
        if known is not None and known[1]:
            return
        run_id = known[0] if known is not None else self._create(trial)
        for path, value in trial.values.items():
            self._client.log_param(run_id, path, value)
        self._client.log_metric(run_id, SCORE, trial.score)
        self._client.set_terminated(run_id, "FINISHED", int(trial.ended_at.timestamp() * 1000))
        self._known[trial.name] = (run_id, True)

    def _create(self, trial: Trial) -> str:
        run = self._client.create_run(
            self._experiment,
            start_time=int(trial.started_at.timestamp() * 1000),
            tags={_PARENT: self._parent, TAG_TRIAL: trial.name, "stage": trial.stage},
            run_name=trial.name,
        )
        return str(run.info.run_id)

    @cached_property
    def _known(self) -> dict[str, tuple[str, bool]]:
        """Run id of each trial that MLflow has, and whether all of it is there."""
        wanted = f"tags.`{_PARENT}` = '{self._parent}'"
        found: dict[str, tuple[str, bool]] = {}
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment], wanted, max_results=_PAGE, page_token=token)
            for run in page:
                name = run.data.tags.get(TAG_TRIAL, "")
                found[name] = (run.info.run_id, run.info.status == "FINISHED")
            token = page.token
            if not token:
                return found

    @cached_property
    def _parent(self) -> str:
        """Return the run of the training; publishing goes on with the one that is begun here."""
        known = run_of(self._client, self._experiment, self._training_run)
        if known is None:
            tags = {TAG_TRAINING: self._training_run}
            known = str(self._client.create_run(self._experiment, tags=tags, run_name=self._training_run).info.run_id)
        if not self._reproducible:
            self._client.set_tag(known, TAG_REPRODUCIBLE, "false")
        return known

    @cached_property
    def _experiment(self) -> str:
        known = self._client.get_experiment_by_name(EXPERIMENT)
        return str(known.experiment_id if known is not None else self._client.create_experiment(EXPERIMENT))
