"""Where bundles are published: the versions, tags and aliases of one registered model in MLflow.

Needs mlflow-skinny only and never runs code of a model: a server downloads files, and verifies them itself.
"""

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import requests
from google.protobuf import json_format
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException, RestException
from mlflow.tracking import MlflowClient

from features.contracts.errors import MarqueeError, UnavailableError
from training.bundle.names import BUNDLE_FOLDER
from training.bundle.versions import (
    NOT_THERE,
    TAG_DIGEST,
    TAG_RUN,
    NotThereError,
    RegisteredVersion,
    RegistryError,
    quoted,
    refusal,
)

_PAGE: Final = 200

_CLIENT_DEFAULTS: Final = {
    # MLflow's own defaults (120 s, 7 retries with a doubling pause) would hold an alias poll for minutes.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    # Logs are read by people and machines: neither needs a line per file.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}

Answer = TypeVar("Answer")
Arguments = ParamSpec("Arguments")


class Registry:
    """The versions of one registered model on one MLflow server.

    Every method raises `UnavailableError` when MLflow cannot be reached or fails within, and `RegistryError` when
    it refuses. Requests give up after a few seconds unless ``MLFLOW_HTTP_REQUEST_*`` variables say otherwise.
    """

    def __init__(self, tracking_uri: str, model_name: str) -> None:
        for name, value in _CLIENT_DEFAULTS.items():
            os.environ.setdefault(name, value)
        self.tracking_uri = tracking_uri.rstrip("/")
        self.model_name = model_name
        self._client = MlflowClient(self.tracking_uri, self.tracking_uri)

    def by_alias(self, alias: str) -> RegisteredVersion | None:
        """Return the version that an alias points to, None where there is no such alias or no such model."""
        version = self.aliases().get(alias)
        try:
            return None if version is None else self.version(version)
        except NotThereError as error:
            raise NotThereError(f"the alias {alias!r} points to version {version}: {error}") from error

    def version(self, version: str) -> RegisteredVersion:
        """Return one version by its number."""
        return _registered(self._ask(self._client.get_model_version, self.model_name, version))

    def versions(self) -> list[RegisteredVersion]:
        """Return all versions, newest first; none where the model is not there yet."""
        return self._search(f"name = {quoted(self.model_name)}")

    def aliases(self) -> dict[str, str]:
        """Return the version that each alias points to; empty where the model is not there yet."""
        try:
            model = self._ask(self._client.get_registered_model, self.model_name)
        except NotThereError:
            return {}
        nameless = next((alias for alias, version in model.aliases.items() if not version), None)
        if nameless is not None:  # the client fills in what an answer lacks
            subject = f"model {self.model_name!r} in MLflow at {self.tracking_uri}"
            raise refusal(subject, None, f"the alias {nameless!r} has no version number")
        return {alias: str(version) for alias, version in model.aliases.items()}

    def find_by_run(self, training_run: str) -> RegisteredVersion | None:
        """Return the version that a training run (tag `run`) registered, None where it has not yet."""
        wanted = f"name = {quoted(self.model_name)} and tag.`{TAG_RUN}` = {quoted(training_run)}"
        return next(iter(self._search(wanted)), None)

    def metrics(self, run_ids: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return the metrics of some MLflow runs by run; runs that are gone are left out."""
        if not run_ids:
            return {}
        experiments = [one.experiment_id for one in self._ask(self._client.search_experiments)]
        wanted = f"attributes.run_id IN ({', '.join(map(quoted, run_ids))})"
        runs = self._ask(self._client.search_runs, experiments, wanted, max_results=len(run_ids))
        return {run.info.run_id: dict(run.data.metrics) for run in runs}

    def experiment(self, run_id: str) -> str:
        """Return the experiment of a run: MLflow's pages of its artifacts lie below it."""
        return str(self._ask(self._client.get_run, run_id).info.experiment_id)

    def download(self, version: str, folder: Path) -> Path:
        """Return the folder, below the given one, that holds the bundle's files of a version; not yet verified.

        Raises
        ------
        OSError
            If there is no room for them.
        """
        uri = self._ask(self._client.get_model_version_download_uri, self.model_name, version)
        source = f"{uri}/artifacts/{BUNDLE_FOLDER}"
        to = {"dst_path": str(folder), "tracking_uri": self.tracking_uri}
        try:
            bundle = Path(self._ask(download_artifacts, artifact_uri=source, **to))
        except UnavailableError as error:
            # To MLflow's client a full disk is a failed download like any other: only its words tell.
            full = os.strerror(errno.ENOSPC)
            if full in str(error):
                raise OSError(errno.ENOSPC, full, str(folder)) from error
            raise
        if not (bundle / "manifest.json").is_file():
            raise RegistryError(
                f"version {version} of model {self.model_name!r}: no manifest.json at {source}; expected a bundle "
                "that `python -m training step register` published. Promote another version."
            )
        return bundle

    def set_alias(self, alias: str, version: str) -> None:
        """Let an alias point to a version."""
        self._ask(self._client.set_registered_model_alias, self.model_name, alias, version)

    def delete_alias(self, alias: str) -> None:
        """Let an alias point to nothing."""
        self._ask(self._client.delete_registered_model_alias, self.model_name, alias)

    def set_tags(self, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version; tags that are not named stay."""
        for key, value in tags.items():
            self._ask(self._client.set_model_version_tag, self.model_name, version, key, value)

    def _search(self, wanted: str) -> list[RegisteredVersion]:
        found: list[RegisteredVersion] = []
        token: str | None = None
        while True:
            page = self._ask(
                self._client.search_model_versions,
                wanted,
                max_results=_PAGE,
                order_by=["version_number DESC"],
                page_token=token,
            )
            found.extend(_registered(version) for version in page)
            token = page.token
            if not token:
                return found

    def _ask(self, call: Callable[Arguments, Answer], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        """Return what MLflow answers to a call; the one place where its errors become ours."""
        try:
            return call(*args, **kwargs)
        except (MlflowException, requests.RequestException, json_format.Error, ValueError) as error:
            raise translated(error, f"model {self.model_name!r} in MLflow at {self.tracking_uri}") from error


def translated(error: Exception, subject: str) -> MarqueeError:
    """Return our error for one that MLflow's client raised: whether it is away, refuses, or lacks what was asked."""
    code = getattr(error, "error_code", "INTERNAL_ERROR")
    return refusal(subject, code if isinstance(error, RestException) or code == NOT_THERE else None, error)


def _registered(version: ModelVersion) -> RegisteredVersion:
    """Return our view of MLflow's version; its number is text over HTTP, but an integer from a database URI."""
    tags = dict(version.tags)
    created_at_us = (version.creation_timestamp or 0) * 1000
    return RegisteredVersion(str(version.version), tags.get(TAG_DIGEST), version.run_id or "", tags, created_at_us)
