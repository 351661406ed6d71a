"""Settings of one training, as parameters of a run; the defaults need no tuning."""

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from features.contracts.profiles import HISTORY_LIMIT
from features.contracts.weights import ActionWeights
from training.als import AlsConfig
from training.bundle.plan import sources_on
from training.bundle.sources import CONTENT, FRESH, PROMISED, REPEAT

HIDDEN_ITEMS: Final = 0.05
"""Least share of items by which a ranker learns what texts are worth where there is no history; DECISIONS.md."""


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
    users_per_slice: int = 4_000
    rows: int = 1_200_000


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything that shapes a training besides the data. One seed, one result.

    `without` names sources that are left out; `candidates` is how many a user gets on average; `exclude_seen` says
    whether items that a user had may not come back; `hidden_items` is the least share of items whose history is hidden
    while the ranker learns, so that it learns what texts are worth where nothing else is known; 0 = it does not.
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
    hidden_items: float = 0.0
    seed: int = 0
    threads: int = 2

    def sources_on(self, *, texts: bool) -> tuple[str, ...]:
        """Return the candidate sources that may propose.

        `repeat` only where items that were had may come back, `content` only where items have `texts`, `fresh` and
        `fresh_popular` only where the ranker learned of items without a history.

        Raises
        ------
        ContractError
            If `without` names an unknown source, or leaves none for users without a history.
        """
        known_alone = not (texts and self.hidden_items)
        idle = {REPEAT: self.exclude_seen, CONTENT: not texts, FRESH: known_alone, PROMISED: known_alone}
        return sources_on(self.without, [name for name, off in idle.items() if off])

    def parameters(self) -> dict[str, Any]:
        """Return all settings flat, as MLflow logs parameters."""
        flat: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if name in {"als", "ranker"}:
                flat |= {f"{name}_{key}": inner for key, inner in value.items()}
            elif name != "weights":
                flat[name] = value
        return flat | {"weights": self.weights.to_json()}
