"""The gate's decision as people find it in MLflow: a table, a picture and tags of the training's run."""

import json
from pathlib import Path
from typing import Any, Final

import requests
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from training.bundle.registry import Registry, translated
from training.gating.plot import plot_decision
from training.gating.results import Decision
from training.gating.rules import GateRules
from training.gating.table import table, text

TABLE: Final = "gate.json"
ARTIFACTS: Final = "gate"
"""Folder of the other artifacts: picture, text and rules."""
TAG_VERDICT: Final = "gate_verdict"
TAG_STOPPED_BY: Final = "gate_stopped_by"
_TABLES_TAG: Final = "mlflow.loggedArtifacts"
"""MLflow shows the artifacts named here as tables."""


def write_decision(folder: Path, decision: Decision, told: dict[str, Any], rules: GateRules) -> None:
    """Write into a folder what is logged: the decision as JSON and as text, its picture, and the rules that were asked.

    Parameters
    ----------
    told
        The decision as the record of the step holds it.
    """
    (folder / "decision.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    (folder / "decision.txt").write_text(text(told) + "\n", encoding="utf-8")
    (folder / "gate.png").write_bytes(plot_decision(decision))
    (folder / "rules.json").write_text(rules.model_dump_json(indent=1) + "\n", encoding="utf-8")


def log_decision(registry: Registry, mlflow_run: str, decision: Decision, folder: Path, champion: str | None) -> None:
    """Log the decision, over an earlier one of the same run.

    Parameters
    ----------
    folder
        As `write_decision` wrote it.
    champion
        Number of the version that serves, None where none does.

    Raises
    ------
    UnavailableError
        If MLflow cannot be reached.
    """
    client = MlflowClient(registry.tracking_uri, registry.tracking_uri)
    try:
        client.log_dict(mlflow_run, table(decision.to_json()["rules"]), TABLE)
        client.log_artifacts(mlflow_run, str(folder), ARTIFACTS)
        _show_table(client, mlflow_run)
        for name, value in {"gate": decision.outcome, **tags_of(decision, champion)}.items():
            client.set_tag(mlflow_run, name, value)
    except (MlflowException, requests.RequestException) as error:
        raise translated(error, f"run {mlflow_run} in MLflow at {registry.tracking_uri}") from error


def tags_of(decision: Decision, champion: str | None) -> dict[str, str]:
    """Return what runs and versions can be filtered by, beside the outcome.

    A champion that cannot be read, or that no rule asks about, is there all the same.
    """
    compared = decision.against_champion
    alone = "no champion" if champion is None else "not compared"
    stopped = [rule.rule for rule in decision.rules if rule.outcome != "promoted"]
    return {
        TAG_VERDICT: alone if compared is None else compared.verdict,
        TAG_STOPPED_BY: ", ".join(stopped) or "nothing",
    }


def _show_table(client: MlflowClient, mlflow_run: str) -> None:
    """Name the table among those of the run; others stay."""
    known = json.loads(client.get_run(mlflow_run).data.tags.get(_TABLES_TAG, "[]"))
    ours = {"path": TABLE, "type": "table"}
    client.set_tag(mlflow_run, _TABLES_TAG, json.dumps([*(one for one in known if one != ours), ours]))
