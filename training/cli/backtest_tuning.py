"""What ``--tune`` of a backtest does: a search of settings on what is before the cut, kept in the output folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from features.contracts.errors import ContractError
from training.backtest import Cut, know, training_of
from training.config import TrainingConfig
from training.frames import Loaded
from training.progress import Progress
from training.texts import FitEncoder

if TYPE_CHECKING:
    from training.tuning.tune import Tuned

FOLDER: Final = "tuning"


def check_tuning(trials: int, minutes: float | None, *, rolling: int, interactions: Path | None) -> None:
    """Refuse a search that could not be honest, or that has nothing to search on.

    Raises
    ------
    ContractError
        Naming the options that do not go together.
    """
    if minutes is not None and not trials:
        raise ContractError("backtest: --tune-minutes limits a search; give it with --tune TRIALS")
    if trials and rolling > 1:
        raise ContractError(
            "backtest: --tune searches on everything before --cutoff, and the earlier windows of --rolling lie in "
            "that; give one of the two"
        )
    if trials and interactions is None:
        raise ContractError("backtest: --tune searches on --interactions; lists alone have none")


def tuned(
    loaded: Loaded,
    items: Path | None,
    cut: Cut,
    config: TrainingConfig,
    *,
    trials: int,
    minutes: float | None,
    out: Path,
    fit_encoder: FitEncoder,
    progress: Progress,
) -> "Tuned":
    """Return what a search before the cut led to; it goes on with the trials that it finds in the folder."""
    from training.tuning.tune import Budget, tune  # noqa: PLC0415  # Optuna loads slowly, and few ask for it

    known = know(loaded.interactions, cut)
    budget = Budget(trials, out / FOLDER, minutes)
    training = training_of(known, items, fit_encoder, progress)
    return tune(training, known.moments(cut, config), config, budget, progress)
