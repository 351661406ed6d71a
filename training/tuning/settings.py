"""Settings of a configuration by their paths: `als.factors` is `config.als.factors`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from training.config import TrainingConfig

Values = Mapping[str, float]
"""Values of settings, by path."""


def value_of(config: TrainingConfig, path: str) -> Any:
    """Return the setting at a path.

    >>> value_of(TrainingConfig(), "als.factors")
    64
    """
    found: Any = config
    for name in path.split("."):
        found = getattr(found, name)
    return found


def with_values(config: TrainingConfig, values: Values) -> TrainingConfig:
    """Return the configuration with some settings replaced.

    >>> with_values(TrainingConfig(), {"als.factors": 32, "ease_regularization": 7.0}).als.factors
    32
    """
    for path, value in values.items():
        config = _replaced(config, path.split("."), value)
    return config


def _replaced(settings: Any, names: list[str], value: float) -> Any:
    first, *rest = names
    return replace(settings, **{first: _replaced(getattr(settings, first), rest, value) if rest else value})
