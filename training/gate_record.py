"""The gate's decision as people find it in MLflow: a table among the artifacts of the training's run."""

import json
from typing import Final

import requests
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from training.bundle.registry import Registry, translated
from training.gate import Decision

TABLE: Final = "gate.json"
_TABLES_TAG: Final = "mlflow.loggedArtifacts"
"""MLflow shows the artifacts named here as tables."""


def log_decision(registry: Registry, mlflow_run: str, decision: Decision) -> None:
    """Write the decision as a table, over an earlier one of the same run.

    Raises
    ------
    UnavailableError
        If MLflow cannot be reached.
    """
    columns = ["rule", "verdict", "difference", "low", "high", "reason"]
    rows = [[rule.get(column) for column in columns] for rule in decision.to_json()["rules"]]
    client = MlflowClient(registry.tracking_uri, registry.tracking_uri)
    try:
        client.log_dict(mlflow_run, {"columns": columns, "data": rows}, TABLE)
        client.set_tag(mlflow_run, _TABLES_TAG, json.dumps([{"path": TABLE, "type": "table"}]))
        client.set_tag(mlflow_run, "gate", decision.outcome)
    except (MlflowException, requests.RequestException) as error:
        raise translated(error, f"run {mlflow_run} in MLflow at {registry.tracking_uri}") from error
