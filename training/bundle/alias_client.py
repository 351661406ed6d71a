"""Reading and moving aliases by MLflow's REST API alone.

MLflow's own client takes two seconds of a processor to import: too long for whoever goes back in a hurry.
"""

import os
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec
import requests

from training.bundle.versions import (
    TAG_DIGEST,
    NotThereError,
    RegisteredVersion,
    quoted,
    refusal,
)

_PATH: Final = "/api/2.0/mlflow"
_TIMEOUT_S: Final = 5.0
"""As `Registry` waits for an answer."""
_PAGE: Final = 200
_OWN_WAYS: Final = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_AUTH")
"""Logins, and plugins for them, that only MLflow's own client knows."""


def speaks_plainly(tracking_uri: str) -> bool:
    """Return whether an MLflow can be asked without its own client: over HTTP, and with no login of its own."""
    return tracking_uri.startswith(("http://", "https://")) and not any(os.environ.get(name) for name in _OWN_WAYS)


class _Alias(msgspec.Struct):
    alias: str
    version: str


class _Model(msgspec.Struct):
    aliases: list[_Alias] = []


class _Tag(msgspec.Struct):
    key: str
    value: str = ""


class _Version(msgspec.Struct):
    version: str
    run_id: str = ""
    tags: list[_Tag] = []
    creation_timestamp: int = 0


class _OneModel(msgspec.Struct):
    registered_model: _Model


class _OneVersion(msgspec.Struct):
    model_version: _Version


class _Page(msgspec.Struct):
    model_versions: list[_Version] = []
    next_page_token: str = ""


class _Done(msgspec.Struct):
    """An answer of which nothing is needed."""


class _Refused(msgspec.Struct):
    error_code: str = ""
    message: str = ""


Answer = TypeVar("Answer")


class AliasClient:
    """The aliases of one registered model, as `Registry` has them, and what is needed to move one.

    Every method raises `UnavailableError` when MLflow cannot be reached or fails within, and `RegistryError` when it
    refuses.
    """

    def __init__(self, tracking_uri: str, model_name: str) -> None:
        self.model_name = model_name
        self._name = {"name": model_name}
        self._uri = tracking_uri.rstrip("/")
        self._session = requests.Session()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self._session.close()

    def aliases(self) -> dict[str, str]:
        """Return the version that each alias points to; empty where the model is not there yet."""
        try:
            model = self._ask("GET", "registered-models/get", self._name, _OneModel).registered_model
        except NotThereError:
            return {}
        return {one.alias: one.version for one in model.aliases}

    def version(self, version: str) -> RegisteredVersion:
        """Return one version by its number."""
        asked = {**self._name, "version": version}
        return _registered(self._ask("GET", "model-versions/get", asked, _OneVersion).model_version)

    def versions(self) -> list[RegisteredVersion]:
        """Return all versions, newest first; none where the model is not there yet."""
        wanted: dict[str, Any] = {
            "filter": f"name = {quoted(self.model_name)}",
            "order_by": ["version_number DESC"],
            "max_results": _PAGE,
        }
        found: list[RegisteredVersion] = []
        while True:
            page = self._ask("GET", "model-versions/search", wanted, _Page)
            found.extend(map(_registered, page.model_versions))
            if not page.next_page_token:
                return found
            wanted["page_token"] = page.next_page_token

    def set_tags(self, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version; tags that are not named stay."""
        for key, value in tags.items():
            tag = {**self._name, "version": version, "key": key, "value": value}
            self._ask("POST", "model-versions/set-tag", tag, _Done)

    def set_alias(self, alias: str, version: str) -> None:
        """Let an alias point to a version."""
        self._ask("POST", "registered-models/alias", {**self._name, "alias": alias, "version": version}, _Done)

    def delete_alias(self, alias: str) -> None:
        """Let an alias point to nothing."""
        self._ask("DELETE", "registered-models/alias", {**self._name, "alias": alias}, _Done)

    def _ask(self, method: str, path: str, values: Mapping[str, Any], form: type[Answer]) -> Answer:
        """Return MLflow's answer about the model, in a form; the one place where its errors become ours."""
        subject = f"model {self.model_name!r} in MLflow at {self._uri}"
        given: dict[str, Any] = {"params": values} if method == "GET" else {"json": values}
        try:
            response = self._session.request(method, f"{self._uri}{_PATH}/{path}", timeout=_TIMEOUT_S, **given)
            if response.ok:
                return msgspec.json.decode(response.content, type=form, strict=False)  # times may come as text
            refused = msgspec.json.decode(response.content, type=_Refused)
        except (requests.RequestException, msgspec.MsgspecError) as error:
            raise refusal(subject, None, error) from error
        code = refused.error_code or str(response.status_code)
        failed = response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
        raise refusal(subject, None if failed else code, refused.message or response.text)


def _registered(version: _Version) -> RegisteredVersion:
    tags = {tag.key: tag.value for tag in version.tags}
    created_at_us = version.creation_timestamp * 1000
    return RegisteredVersion(version.version, tags.get(TAG_DIGEST), version.run_id, tags, created_at_us)
