"""Settings of one training, as parameters of a run; the defaults need no tuning."""

from dataclasses import asdict, dataclass, field
from typing import Any

from features.contracts.profiles import HISTORY_LIMIT
from features.contracts.weights import ActionWeights
from training.als import AlsConfig


@dataclass(frozen=True, slots=True)
class RankerConfig:
    """LightGBM's settings; trees are added until a later slice stops improving.

    `objectives` are tried, and blended, on that slice. `rows` bounds what is learned from in all: of candidates that
    were not liked as many are kept as fit in.
    """

    objectives: tuple[str, ...] = ("lambdarank", "binary")
    learning_rate: float = 0.05
    leaves: int = 31
    trees: int = 400
    patience: int = 30
    min_rows_in_leaf: int = 80
    l2: float = 5.0
    truncation: int = 15
    feature_fraction: float = 0.5
    users_per_slice: int = 2_000
    rows: int = 600_000


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything that shapes a training besides the data. One seed, one result.

    `without` names sources that are left out; `candidates` is how many a user gets on average; `exclude_seen` says
    whether items that a user had may not come back.
    """

    als: AlsConfig = field(default_factory=AlsConfig)
    ranker: RankerConfig = field(default_factory=RankerConfig)
    weights: ActionWeights = field(default_factory=ActionWeights)
    ease_regularization: float = 300.0
    moments: int = 3
    history_limit: int = HISTORY_LIMIT
    candidates: int = 250
    without: tuple[str, ...] = ()
    exclude_seen: bool = True
    seed: int = 0
    threads: int = 2

    def parameters(self) -> dict[str, Any]:
        """Return all settings flat, as MLflow logs parameters."""
        flat: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if name in {"als", "ranker"}:
                flat |= {f"{name}_{key}": inner for key, inner in value.items()}
            elif name != "weights":
                flat[name] = value
        return flat | {"weights": self.weights.to_json()}
