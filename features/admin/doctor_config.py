"""How strict the data doctor is: severity and threshold of each check, by a YAML file."""

from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import yaml
from msgspec import Meta

from features.contracts.errors import ContractError

Severity = Literal["ok", "warn", "block"]


class CheckConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one check is judged.

    Attributes
    ----------
    severity
        What it means that the check fails: `ok` nothing, `warn` a word, `block` that training stops.
    threshold
        It fails above this: a share of 0..1, or a number where the check counts.
    """

    severity: Severity = "warn"
    threshold: Annotated[float, Meta(ge=0)]


DEFAULTS: Final = {
    "unknown_items": CheckConfig(threshold=0.2),
    "bots": CheckConfig(threshold=5_000),
    "one_action": CheckConfig(threshold=0.999),
    "unweighted_actions": CheckConfig(severity="block", threshold=0.5),
    "items_without_text": CheckConfig(threshold=0.5),
    "duplicates": CheckConfig(threshold=0.05),
    "gaps": CheckConfig(threshold=0),
    "time_zones": CheckConfig(threshold=0.2),
    "skewed_producers": CheckConfig(threshold=300),
    "volume_drop": CheckConfig(threshold=0.5),
}
"""Thresholds: shares, but for `bots` (interactions of one user), `gaps` (hours and days), `skewed_producers` (seconds).

Blocking by default is only what makes training pointless: most interactions weigh nothing.
"""


class _Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    severity: Severity | None = None
    threshold: Annotated[float, Meta(ge=0)] | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    checks: dict[str, _Change] = {}
    sample_rows: Annotated[int, Meta(ge=1_000)] = 1_000_000
    check_seconds: Annotated[float, Meta(gt=0)] = 60


class DoctorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the doctor goes by.

    Attributes
    ----------
    checks
        By name, all of them.
    sample_rows
        About how many interactions are looked at where there are more.
    check_seconds
        Longest time of one check; it is left out after that, and said so.
    """

    checks: dict[str, CheckConfig]
    sample_rows: int = 1_000_000
    check_seconds: float = 60


def load_config(path: Path | None) -> DoctorConfig:
    """Return the configuration of a file over the defaults; the defaults if none is named.

    Raises
    ------
    ContractError
        Naming file and field of what cannot be used.
    """
    if path is None:
        return DoctorConfig(checks=dict(DEFAULTS))
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        said = msgspec.convert(content or {}, _File)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise ContractError(
            f"{path}: {error}; expected YAML such as `checks: {{bots: {{severity: block, threshold: 5000}}}}`"
        ) from error
    if unknown := sorted(set(said.checks) - DEFAULTS.keys()):
        raise ContractError(f"{path}: no check {', '.join(unknown)}; there are {', '.join(DEFAULTS)}")
    checks = {name: _changed(default, said.checks.get(name, _Change())) for name, default in DEFAULTS.items()}
    return DoctorConfig(checks=checks, sample_rows=said.sample_rows, check_seconds=said.check_seconds)


def _changed(default: CheckConfig, change: _Change) -> CheckConfig:
    return CheckConfig(
        severity=default.severity if change.severity is None else change.severity,
        threshold=default.threshold if change.threshold is None else change.threshold,
    )
