"""One search: trials of some settings, proposed by a seeded TPE sampler, kept in a journal, the default first.

Akiba et al., Optuna, KDD 2019; Bergstra et al., Algorithms for Hyper-Parameter Optimization, NIPS 2011.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np
import optuna
import structlog
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from features.contracts.errors import ContractError
from training.config import TrainingConfig
from training.tuning.settings import with_values
from training.tuning.space import Knob, values_of
from training.tuning.trials import Trial

log = structlog.get_logger(__name__)

RANDOM_TRIALS: Final = 5
"""Trials before the sampler begins to learn from them: half of a usual search."""

_ORIGIN: Final = "origin"


class OtherOriginError(ContractError):
    """A journal holds trials of other data, seed or settings, or of a search of another length."""


def _ignore(_: Trial) -> None:
    """Do without."""


@dataclass(frozen=True, eq=False)
class Searcher:
    """What the searches of one run have in common.

    Attributes
    ----------
    storage
        Holds the trials; those found there count.
    origin
        Tells data, seed, default settings and length: trials of another origin are refused.
    seed
        One seed, one sequence of trials, however often the process died between them.
    deadline
        Of `time.monotonic`; no trial begins after it. None = no limit.
    tell
        Called with each trial, those of a former process included.
    """

    storage: BaseStorage
    origin: str
    seed: int
    deadline: float | None = None
    tell: Callable[[Trial], None] = field(default=_ignore)

    def best(
        self,
        stage: str,
        knobs: tuple[Knob, ...],
        n_trials: int,
        config: TrainingConfig,
        score: Callable[[TrainingConfig], float],
    ) -> TrainingConfig:
        """Return the configuration of the best of `n_trials` trials, the first of them the one given."""
        study = self._study(stage)
        for number, trial in enumerate(_finished(study)):
            self.tell(_told(stage, number, trial))
        while (number := len(_finished(study))) < n_trials and self._has_time():
            if number == 0:
                _first(study, knobs, config, score)
            else:
                study.sampler = TPESampler(n_startup_trials=RANDOM_TRIALS, seed=self._seed(stage, number))
                asked = study.ask({knob.path: knob.distribution(config) for knob in knobs})
                study.tell(asked, score(with_values(config, asked.params)))
            self._report(stage, number, n_trials, study)
        return with_values(config, study.best_params) if _finished(study) else config

    def _study(self, stage: str) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # trials are told by `tell` and by our own log
        study = optuna.create_study(
            storage=self.storage, study_name=stage, direction="maximize", load_if_exists=True, sampler=TPESampler()
        )
        known = study.user_attrs.get(_ORIGIN)
        if known is None:
            study.set_user_attr(_ORIGIN, self.origin)
        elif known != self.origin:
            raise OtherOriginError(
                f"search {stage!r}: its journal holds trials of other data, catalogue, seed or settings, or of a "
                f"search of another length ({known}; now {self.origin}). Choose another folder, or remove the journal."
            )
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)  # of a process that died
        return study

    def _seed(self, stage: str, number: int) -> int:
        # By the number of finished trials, not by one generator: a process that goes on proposes the same.
        words = [self.seed, number, *stage.encode()]
        return int(np.random.SeedSequence(words).generate_state(1)[0])

    def _has_time(self) -> bool:
        return self.deadline is None or time.monotonic() < self.deadline

    def _report(self, stage: str, number: int, n_trials: int, study: optuna.Study) -> None:
        trial = _told(stage, number, _finished(study)[-1])
        self.tell(trial)
        log.info("trial", name=trial.name, of=n_trials, score=trial.score, best=study.best_value, **trial.values)


def _first(
    study: optuna.Study, knobs: tuple[Knob, ...], config: TrainingConfig, score: Callable[[TrainingConfig], float]
) -> None:
    """Add the trial of the configuration that is in force; its values may lie outside of the ranges."""
    values = values_of(config, knobs)
    distributions = {knob.path: _reaching(knob, values[knob.path]).distribution(config) for knob in knobs}
    started = datetime.now()  # noqa: DTZ005  # Optuna's own times are local
    trial = create_trial(value=score(config), params=values, distributions=distributions)
    trial.datetime_start = started
    study.add_trial(trial)


def _reaching(knob: Knob, value: float) -> Knob:
    return Knob(knob.path, min(knob.low, value), max(knob.high, value), knob.log)


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _told(stage: str, number: int, trial: FrozenTrial) -> Trial:
    if trial.value is None or trial.datetime_start is None or trial.datetime_complete is None:
        raise ContractError(f"trial {trial.number} of search {stage!r} has no score or no times; remove its journal")
    began, ended = trial.datetime_start.astimezone(UTC), trial.datetime_complete.astimezone(UTC)
    return Trial(stage, number, dict(trial.params), trial.value, began, ended)
