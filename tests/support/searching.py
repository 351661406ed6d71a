"""A search whose trials cost nothing, and which may die in the midst of one: run as a program by its test."""

import os
import signal
import sys
from pathlib import Path

from training.config import TrainingConfig
from training.tuning.journal import open_journal
from training.tuning.search import Searcher
from training.tuning.settings import value_of
from training.tuning.space import Knob
from training.tuning.trials import Trial

KNOBS = (Knob("als.factors", 16, 256), Knob("als.regularization", 0.01, 100.0))


def score(config: TrainingConfig) -> float:
    """Return a score that is best at 100 factors and a regularization of 1."""
    factors, regularization = value_of(config, "als.factors"), value_of(config, "als.regularization")
    return float(-abs(factors - 100) / 100 - abs(regularization - 1))


def search(folder: Path, n_trials: int, seed: int = 0, *, dies_at: int | None = None, origin: str = "o") -> list[Trial]:
    """Return all finished trials of a search in a folder; with `dies_at` the process is killed in that trial."""
    told: dict[str, Trial] = {}

    def score_or_die(config: TrainingConfig) -> float:
        if len(told) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return score(config)

    with open_journal(folder) as storage:
        searcher = Searcher(storage, origin, seed, tell=lambda trial: told.update({trial.name: trial}))
        searcher.best("als", KNOBS, n_trials, TrainingConfig(), score_or_die)
    return list(told.values())


if __name__ == "__main__":
    search(Path(sys.argv[1]), int(sys.argv[2]), dies_at=int(sys.argv[3]))
