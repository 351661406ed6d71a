"""Settings of one training, as parameters of a run; the defaults need no tuning."""

from dataclasses import asdict, dataclass, field
from typing import Any

from features.contracts.profiles import HISTORY_LIMIT
from features.contracts.weights import ActionWeights
from training.als import AlsConfig
from training.bundle.plan import default_budgets


@dataclass(frozen=True, slots=True)
class RankerConfig:
    """LightGBM's settings; trees are added until the validation slice stops improving."""

    objective: str = "lambdarank"
    learning_rate: float = 0.05
    leaves: int = 31
    trees: int = 500
    patience: int = 50
    min_rows_in_leaf: int = 80
    l2: float = 5.0
    truncation: int = 15
    users_per_moment: int = 2_000
    negatives_per_user: int = 150


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything that shapes a training besides the data. One seed, one result."""

    als: AlsConfig = field(default_factory=AlsConfig)
    ranker: RankerConfig = field(default_factory=RankerConfig)
    weights: ActionWeights = field(default_factory=ActionWeights)
    ease_regularization: float = 200.0
    moments: int = 2
    history_limit: int = HISTORY_LIMIT
    budgets: dict[str, int] = field(default_factory=default_budgets)
    seed: int = 0
    threads: int = 2

    def parameters(self) -> dict[str, Any]:
        """Return all settings flat, as MLflow logs parameters."""
        flat: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if name in {"als", "ranker"}:
                flat |= {f"{name}_{key}": inner for key, inner in value.items()}
            elif name not in {"weights", "budgets"}:
                flat[name] = value
        flat |= {f"budget_{name}": budget for name, budget in self.budgets.items()}
        return flat | {"weights": self.weights.to_json()}
