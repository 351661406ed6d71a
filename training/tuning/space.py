"""What a search of settings may move, and how far: knobs that name a setting of `TrainingConfig` by its path."""

from dataclasses import dataclass
from typing import Final

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from training.config import TrainingConfig
from training.tuning.settings import value_of


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting and its range, both ends included.

    Attributes
    ----------
    path
        Where it stands in the configuration, as in `training.tuning.settings`.
    log
        Whether equal ratios count alike, rather than equal steps.
    """

    path: str
    low: float
    high: float
    log: bool = True

    def distribution(self, config: TrainingConfig) -> BaseDistribution:
        """Return the range as Optuna reads it; whole numbers where the configuration holds one."""
        if isinstance(value_of(config, self.path), int):
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)


ALS: Final = (
    Knob("als.factors", 32, 192),
    Knob("als.regularization", 0.01, 50.0),
    Knob("als.alpha", 0.1, 20.0),
    Knob("als.iterations", 8, 30),
)
EASE: Final = (Knob("ease_regularization", 10.0, 3_000.0),)
RANKER: Final = (
    Knob("ranker.learning_rate", 0.02, 0.15),
    Knob("ranker.leaves", 7, 63),
    Knob("ranker.min_rows_in_leaf", 20, 400),
    Knob("ranker.l2", 0.5, 50.0),
    Knob("ranker.feature_fraction", 0.3, 1.0, log=False),
)


def values_of(config: TrainingConfig, knobs: tuple[Knob, ...]) -> dict[str, float]:
    """Return the values that a configuration gives some knobs."""
    return {knob.path: value_of(config, knob.path) for knob in knobs}
