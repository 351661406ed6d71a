"""The search of settings in a training run: part of the step `retrieval`, since everything after it rests on it."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from training.config import TrainingConfig
from training.moments import time_moments
from training.retrieval import Training
from training.steps.runner import StepContext

if TYPE_CHECKING:
    from training.tuning.tracking import TrialRuns
    from training.tuning.tune import Tuned

log = structlog.get_logger(__name__)

FOLDER: Final = Path("tuning")
RESULTS: Final = "tuning"
"""Name of the search's results in the record of the step `retrieval`."""


def search_settings(context: StepContext, training: Training, config: TrainingConfig) -> "Tuned | None":
    """Return what a search before the judging window led to, None where the run's options ask for none.

    Trials are nested runs in MLflow; while it is away they are kept in the run's folder only.
    """
    options = context.options
    if not options.tune_trials:
        return None
    from training.tuning.search import OtherOriginError  # noqa: PLC0415  # Optuna loads slowly, and few ask for it
    from training.tuning.tune import Budget, tune  # noqa: PLC0415

    moments = time_moments(
        training.interactions, training.until_us, config.moments, include_seen=not config.exclude_seen
    )
    tell = _runs(context).record_if_up
    budget = Budget(options.tune_trials, context.run.path / FOLDER, options.tune_minutes, tell)

    def search() -> "Tuned":
        return tune(training, moments, config, budget, lambda what: log.info("tuning", what=what))

    try:
        return search()
    except OtherOriginError as error:  # users were erased between a kill and this try
        log.warning("search_begins_anew", error=str(error))
        shutil.rmtree(budget.folder)
        return search()


def record_trials(context: StepContext) -> None:
    """Record in MLflow the trials that it does not have yet.

    Raises
    ------
    UnavailableError
        If MLflow cannot be reached.
    """
    found = context.run.finished("retrieval").results.get(RESULTS)
    if found is None:
        return
    from training.tuning.trials import Trial  # noqa: PLC0415

    runs = _runs(context)
    for trial in msgspec.convert(found["trials"], list[Trial]):
        runs.record(trial)


def _runs(context: StepContext) -> "TrialRuns":
    from training.steps.register import registry_of  # noqa: PLC0415  # so does MLflow
    from training.tuning.tracking import TrialRuns  # noqa: PLC0415

    reproducible = context.options.tune_minutes is None
    return TrialRuns(registry_of(context), context.run.run, reproducible=reproducible)
