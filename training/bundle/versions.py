"""What a version of the registered model is, by which tags and aliases: all without MLflow's client, slow to import."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from features.contracts.errors import MarqueeError, UnavailableError

TAG_DIGEST: Final = "digest"
TAG_RUN: Final = "run"
TAG_SPEC_HASH: Final = "spec_hash"
TAG_TRAINED_UNTIL: Final = "trained_until"
TAG_ENCODER: Final = "encoder"
TAG_GATE: Final = "gate"
TAG_GATE_REASONS: Final = "gate_reasons"
TAG_APPROVAL: Final = "approval"
TAG_APPROVED_BY: Final = "approved_by"
TAG_REJECTED_BY: Final = "rejected_by"
TAG_APPROVAL_REASON: Final = "approval_reason"
TAG_GONE_BACK: Final = "gone_back_by"
"""The run that went back from a version, set before the alias moves: a run that is tried again knows what it did."""

TAGS_OF_PEOPLE: Final = frozenset({TAG_APPROVED_BY, TAG_REJECTED_BY, TAG_APPROVAL_REASON})
"""Tags that tell who decided on a version, and their words: not for everybody who may ask what serves."""

ALIAS_PREVIOUS: Final = "previous"
"""Alias of the version that was served before the present one: where a rollback goes."""

_LOGIN: Final = re.compile(r"//[^/@\s]+@")
NOT_THERE: Final = "RESOURCE_DOES_NOT_EXIST"
AWAY_CODES: Final = frozenset(
    {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"}
)
"""Codes of MLflow's answers: no such thing; and not now."""


class RegistryError(MarqueeError):
    """The registry answered, but not with what was asked for: a model, a version or its files are not there."""


class NotThereError(RegistryError):
    """The model or the version does not exist."""


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """One version of the registered model; `digest` is None where the tag is missing, which makes it unusable.

    `created_at_us` is in microseconds since 1970 UTC.
    """

    version: str
    digest: str | None
    run_id: str
    tags: Mapping[str, str] = field(default_factory=dict)
    created_at_us: int = 0


class Aliased(Protocol):
    """A registered model, as far as its aliases are moved.

    Every method raises `UnavailableError` when MLflow is away, and `RegistryError` when it refuses.
    """

    model_name: str

    def aliases(self) -> dict[str, str]:
        """Return the version that each alias points to; empty where the model is not there yet."""
        ...

    def version(self, version: str) -> RegisteredVersion:
        """Return one version by its number."""
        ...

    def versions(self) -> list[RegisteredVersion]:
        """Return all versions, newest first."""
        ...

    def set_tags(self, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version; tags that are not named stay."""
        ...

    def set_alias(self, alias: str, version: str) -> None:
        """Let an alias point to a version."""
        ...

    def delete_alias(self, alias: str) -> None:
        """Let an alias point to nothing."""
        ...


def refusal(subject: str, code: str | None, words: object) -> MarqueeError:
    """Return our error for what MLflow answered about a subject; `code` is None where no answer can be used.

    Logins in addresses are left out: the error is told to whoever asks a server what it serves.
    """
    subject, words = (_LOGIN.sub("//", str(told)) for told in (subject, words))
    if code == NOT_THERE:
        return NotThereError(f"{subject}: {words}. `python -m training versions` lists what is there.")
    if code is None or code in AWAY_CODES:
        return UnavailableError(f"{subject}: no usable answer ({words}). Try again when the MLflow server is up.")
    return RegistryError(f"{subject}: refused with {code}: {words}")


def quoted(value: str) -> str:
    """Return a string literal of MLflow's search language, which knows no escapes.

    Raises
    ------
    RegistryError
        If the value holds a quote.
    """
    if "'" in value:
        raise RegistryError(f"{value!r} holds a quote; names of models and runs may not. Choose another name.")
    return f"'{value}'"
