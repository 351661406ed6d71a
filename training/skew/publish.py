"""The finding where people look for it: an MLflow run for each check, and tags of the version that was looked at."""

import json
from pathlib import Path
from typing import Final

import requests
from mlflow.entities import Metric, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from training.bundle.registry import Registry, translated
from training.bundle.versions import RegisteredVersion
from training.publish import metric_key
from training.report import write_report
from training.skew.page import page_of
from training.skew.result import Result
from training.skew.verdict import TAG_SKEW, TAG_SKEW_AT, TAG_SKEW_REASONS, TAG_SKEW_RUN

EXPERIMENT: Final = "marquee-skew"
RESULT: Final = "skew.json"
_MAX_TAG: Final = 4900
"""MLflow takes tags of model versions up to 5,000 characters."""


def write_result(result: Result, folder: Path) -> Path:
    """Write the page, its pictures and the finding as JSON into a folder, and return the page's path."""
    page = write_report(page_of(result), folder)
    (folder / RESULT).write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="utf-8")
    return page


def publish_result(registry: Registry, version: RegisteredVersion, result: Result, folder: Path) -> str:
    """Return the MLflow run of a check, after tagging the version with its finding.

    A finding of skew stays until lists were compared again: where there were none, its tags are left alone.

    Parameters
    ----------
    folder
        As `write_result` wrote it.

    Raises
    ------
    UnavailableError
        If MLflow cannot be reached.
    """
    client = MlflowClient(registry.tracking_uri, registry.tracking_uri)
    try:
        run_id = _log_run(client, registry.model_name, result, folder)
    except (MlflowException, requests.RequestException) as error:
        raise translated(error, f"experiment {EXPERIMENT!r} in MLflow at {registry.tracking_uri}") from error
    if result.parity.lists or version.tags.get(TAG_SKEW) != "skewed":
        registry.set_tags(
            version.version,
            {
                TAG_SKEW: result.status,
                TAG_SKEW_REASONS: "\n".join(result.reasons)[:_MAX_TAG],
                TAG_SKEW_AT: result.checked_at.isoformat(timespec="seconds"),
                TAG_SKEW_RUN: run_id,
            },
        )
    return run_id


def metrics_of_run(result: Result) -> dict[str, float]:
    """Return what MLflow draws over time, by name."""
    parity = result.parity
    found = {
        "lists": parity.lists,
        "lists_different": parity.different,
        "lists_left_out": sum(parity.left_out.values()),
        "rows": parity.rows,
        "rows_different": parity.different_rows,
        "features_different": len(parity.worst()),
        **{f"psi/{shift.name}": shift.psi for shift in result.drift.shifts},
    }
    return {name: float(value) for name, value in found.items()}


def _log_run(client: MlflowClient, model_name: str, result: Result, folder: Path) -> str:
    known = client.get_experiment_by_name(EXPERIMENT)
    experiment = client.create_experiment(EXPERIMENT) if known is None else known.experiment_id
    tags = {"model": model_name, "version": result.version, "digest": result.digest, TAG_SKEW: result.status}
    name = f"version {result.version}, {result.checked_at:%Y-%m-%d %H:%M}"
    run_id = str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)
    at_ms = int(result.checked_at.timestamp() * 1000)
    values = metrics_of_run(result).items()
    client.log_batch(run_id, metrics=[Metric(metric_key(name), value, at_ms, 0) for name, value in values])
    client.log_artifacts(run_id, str(folder))
    client.set_terminated(run_id, RunStatus.to_string(RunStatus.FINISHED))
    return run_id
