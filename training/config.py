"""Settings of one training, as parameters of a run; the defaults need no tuning."""

from dataclasses import asdict, dataclass, field
from typing import Any

from features.contracts.profiles import HISTORY_LIMIT
from features.contracts.weights import ActionWeights
from training.als import AlsConfig
from training.bundle.plan import sources_on
from training.bundle.sources import BY_TEXT, REPEAT


@dataclass(frozen=True, slots=True)
class RankerConfig:
    """LightGBM's settings; trees are added until a later slice stops improving.

    `objectives` are tried, and blended, on that slice. `rows` bounds what is learned from in all: of candidates that
    were not liked as many are kept as fit in. `fits` models of each objective serve, of a seed each: what one draws, be
    it rows or columns of its trees, is chance, of which their sum holds less.
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
    rows: int = 800_000
    fits: int = 3


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything that shapes a training besides the data. One seed, one result.

    `without` names sources that are left out; `candidates` is how many a user gets on average; `exclude_seen` says
    whether items that a user had may not come back; `new_items` whether items without a history may be candidates, by
    sources and a ranker that read their texts.
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
    new_items: bool = False
    seed: int = 0
    threads: int = 2

    def sources_on(self, *, texts: bool) -> tuple[str, ...]:
        """Return the candidate sources that may propose.

        `repeat` only where items that were had may come back, those that read texts only where items have `texts` and
        new ones may be candidates.

        Raises
        ------
        ContractError
            If `without` names an unknown source, or leaves none for users without a history.
        """
        repeat = (REPEAT,) if self.exclude_seen else ()
        by_text = () if texts and self.new_items else BY_TEXT
        return sources_on(self.without, (*repeat, *by_text))

    def parameters(self) -> dict[str, Any]:
        """Return all settings flat, as MLflow logs parameters."""
        flat: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if name in {"als", "ranker"}:
                flat |= {f"{name}_{key}": inner for key, inner in value.items()}
            elif name != "weights":
                flat[name] = value
        return flat | {"weights": self.weights.to_json()}
