"""Publishing: one MLflow run and one model version per training run, the bundle inside it as a pyfunc model."""

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Final

import mlflow
import pandas as pd
import requests
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import DataType
from mlflow.types.schema import AnyType, ColSpec, Schema

from features.contracts.columns import ITEM, RANK, SCORE, SOURCE, USER
from features.contracts.errors import ContractError
from features.failpoints import failpoint
from training.bundle.names import BUNDLE_FOLDER
from training.bundle.registry import Registry, translated
from training.bundle.versions import TAG_DIGEST, TAG_RUN, RegisteredVersion
from training.code_version import ROOT
from training.datasets import LoggedData
from training.model_code import copy_code
from training.system_metrics import SystemSample

EXPERIMENT: Final = "marquee"
MODEL_CODE: Final = ROOT / "training" / "pyfunc_model.py"
PACKAGES: Final = ("features", "training")
"""Copied into the model as far as it imports them, so that `mlflow.pyfunc.load_model` works where no checkout is."""

_REQUIREMENTS: Final = ("mlflow", "pandas", "numpy", "scipy", "msgspec", "numba", "lightgbm", "faiss-cpu")

_METRICS_AT_ONCE: Final = 1_000
"""MLflow takes no more in one request."""
_UNNAMEABLE: Final = re.compile(r"[^A-Za-z0-9_\-. :/]")

TAG_TRAINING: Final = "training_run"
"""Tag of the MLflow run of a training: its name. Runs of trials below it do not have it."""

_LIMITS: Final = {
    # Uploads of a bundle of more than a gigabyte may keep the server busy for a while between two answers.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "120",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    # A uv.lock of the checkout names registries of this machine: it stays out of the model.
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

SIGNATURE: Final = ModelSignature(
    inputs=Schema(
        [
            ColSpec(DataType.string, USER),
            ColSpec(AnyType(), "history"),  # type: ignore[no-untyped-call]  # a list, or its JSON text
            ColSpec(DataType.long, "k", required=False),
            ColSpec(DataType.string, "as_of", required=False),
        ]
    ),
    outputs=Schema(
        [
            ColSpec(DataType.string, USER),
            ColSpec(DataType.string, ITEM),
            ColSpec(DataType.long, RANK),
            ColSpec(DataType.double, SCORE),
            ColSpec(DataType.string, SOURCE),
        ]
    ),
)


@dataclass(frozen=True, slots=True)
class Publication:
    """What is published of one training run.

    Attributes
    ----------
    run
        Name of the training run; one run gives one version, however often it is published.
    bundle, digest
        Folder named `bundle` that holds the files, and the SHA-256 of its manifest.
    parameters, metrics
        Of the MLflow run.
    tags
        Of the model version, set when it is created; digest and run are added.
    files
        Folder of plots and report, logged as artifacts of the run; None for none.
    datasets
        What the run was fitted and judged on.
    system
        What its steps took of the machine.
    example_items
        A few known item ids for the input example.
    """

    run: str
    bundle: Path
    digest: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    files: Path | None = None
    datasets: tuple[LoggedData, ...] = ()
    system: Sequence[SystemSample] = ()
    example_items: tuple[str, ...] = ()


def publish(registry: Registry, publication: Publication) -> RegisteredVersion:
    """Return the model version of a training run: the one that it has already, or a new one.

    Raises
    ------
    UnavailableError
        If MLflow cannot be reached; publishing again goes on with the same MLflow run.
    """
    _check(publication)
    known = registry.find_by_run(publication.run)
    if known is not None:
        return known
    allow_long_requests()
    try:
        mlflow.set_tracking_uri(registry.tracking_uri)
        return registry.version(_register(registry, publication))
    except (MlflowException, requests.RequestException) as error:
        raise translated(error, f"publishing run {publication.run!r} to MLflow at {registry.tracking_uri}") from error


def metric_key(name: str) -> str:
    """Return a metric's name as MLflow takes it, which knows neither @ nor brackets.

    >>> metric_key("recent popularity (1 day)/ndcg@10")
    'recent popularity 1 day/ndcg_at_10'
    """
    return _UNNAMEABLE.sub("", name.replace("@", "_at_"))


def allow_long_requests() -> None:
    """Let this process wait for MLflow as long as a batch job may; variables that are set already win."""
    for name, value in _LIMITS.items():
        os.environ.setdefault(name, value)


def run_of(client: MlflowClient, experiment: str, training_run: str) -> str | None:
    """Return the MLflow run of a training: begun by its trials, or by a publication that broke off."""
    found = client.search_runs([experiment], f"tags.{TAG_TRAINING} = '{training_run}'", max_results=1)
    return found[0].info.run_id if found else None


def _check(publication: Publication) -> None:
    if publication.bundle.name != BUNDLE_FOLDER:
        raise ContractError(
            f"bundle folder {publication.bundle} is named {publication.bundle.name!r}; servers look for "
            f"{BUNDLE_FOLDER!r} among a version's artifacts. Write the bundle to a folder of that name."
        )


def _register(registry: Registry, publication: Publication) -> str:
    client = MlflowClient()
    experiment = mlflow.set_experiment(EXPERIMENT).experiment_id
    with mlflow.start_run(
        run_id=run_of(client, experiment, publication.run),
        run_name=publication.run,
        tags={TAG_TRAINING: publication.run},
    ) as run:
        mlflow.log_params(dict(publication.parameters))
        for data in publication.datasets:
            mlflow.log_input(data.dataset(), context=data.context)
        _log_system(client, run.info.run_id, publication.system)
        if publication.files is not None:
            mlflow.log_artifacts(str(publication.files), "report")
        model = _log_model(publication)
        # With the model's id they stand on its page, too.
        metrics = {metric_key(name): value for name, value in publication.metrics.items()}
        mlflow.log_metrics(metrics, model_id=model.model_id)
        failpoint("after_upload")
        return _create_version(client, registry.model_name, model, run.info.run_id, publication)


def _log_system(client: MlflowClient, run_id: str, samples: Sequence[SystemSample]) -> None:
    """Log what MLflow shows as system metrics: those whose names begin with `system/`."""
    metrics = [
        Metric(f"system/{name}", value, sample.at_ms, number)
        for number, sample in enumerate(samples)
        for name, value in sample.seen.items()
    ]
    for start in range(0, len(metrics), _METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=metrics[start : start + _METRICS_AT_ONCE])


def _log_model(publication: Publication) -> Any:
    example = pd.DataFrame({USER: ["someone"], "history": [list(publication.example_items)], "k": [10]})
    with tempfile.TemporaryDirectory() as folder:
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(MODEL_CODE),
            artifacts={BUNDLE_FOLDER: str(publication.bundle.resolve())},
            code_paths=[str(package) for package in copy_code(MODEL_CODE, ROOT, PACKAGES, Path(folder))],
            model_config={"digest": publication.digest},
            signature=SIGNATURE,
            input_example=example if publication.example_items else None,
            pip_requirements=[f"{name}=={installed_version(name)}" for name in _REQUIREMENTS],
        )


def _create_version(client: MlflowClient, name: str, model: Any, run_id: str, publication: Publication) -> str:
    """Return the number of a new version that has its tags from the first moment: a server never sees it without."""
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    created = client.create_model_version(
        name,
        source=model.model_uri,
        run_id=run_id,
        model_id=model.model_id,
        tags={**publication.tags, TAG_DIGEST: publication.digest, TAG_RUN: publication.run},
        await_creation_for=60,
    )
    failpoint("after_version")
    return str(created.version)
