"""Trials of a search as nested runs of a real MLflow."""

from datetime import UTC, datetime, timedelta

import pytest
from mlflow.tracking import MlflowClient

from features.contracts.errors import UnavailableError
from training.bundle.registry import Registry
from training.publish import EXPERIMENT, allow_long_requests, run_of
from training.tuning.tracking import SCORE, TAG_REPRODUCIBLE, TrialRuns
from training.tuning.trials import Trial

pytestmark = pytest.mark.integration

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def _trial(number: int) -> Trial:
    ended = BEGAN + timedelta(seconds=number + 1)
    return Trial("als", number, {"als.factors": 8 + number}, 0.1 * number, BEGAN, ended)


def test_each_trial_is_one_nested_run_however_often_and_by_whom_it_is_recorded(mlflow_uri: str) -> None:
    allow_long_requests()
    registry = Registry(mlflow_uri, "tuned")
    first = TrialRuns(registry, "tuned-run", reproducible=False)
    first.record(_trial(0))
    first.record(_trial(0))
    for number in (0, 1):
        TrialRuns(registry, "tuned-run", reproducible=False).record(_trial(number))
    client = MlflowClient(mlflow_uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    parent = run_of(client, experiment.experiment_id, "tuned-run")
    assert parent is not None
    assert client.get_run(parent).data.tags[TAG_REPRODUCIBLE] == "false"
    nested = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    told = {run.info.run_name: (run.data.params, run.data.metrics, run.info.status) for run in nested}
    assert told == {
        "als-000": ({"als.factors": "8"}, {SCORE: 0.0}, "FINISHED"),
        "als-001": ({"als.factors": "9"}, {SCORE: 0.1}, "FINISHED"),
    }
    assert len(nested) == 2


def test_a_search_does_not_wait_for_an_mlflow_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    runs = TrialRuns(Registry("http://127.0.0.1:1", "tuned"), "away", reproducible=True)
    runs.record_if_up(_trial(0))
    with pytest.raises(UnavailableError, match="away"):
        runs.record(_trial(0))
