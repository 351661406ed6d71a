"""Tuning: better settings for the data at hand, found inside the training window, and taken only if they are better.

Two stages. First each source whose settings matter is searched alone, judged by what it proposes at the latest
moment: no ranker is needed for that. Then candidates are made once with the retrieval found and once by default, the
better of the two is kept, and the ranker is searched on those candidates. A trial's score is NDCG@10 of what would
serve, fitted on earlier moments, over one half of the latest moment's users; the other half, which no trial was
chosen by, decides whether what was found is taken.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import structlog

from features.contracts.errors import ContractError
from training.config import TrainingConfig
from training.moments import Moment
from training.progress import Progress, silent
from training.retrieval import Training
from training.tuning.journal import open_journal
from training.tuning.search import Searcher
from training.tuning.served import Candidates, candidates_of, scored_by, served_score, served_values
from training.tuning.settings import value_of
from training.tuning.sources import STAGES, SourceJudge
from training.tuning.space import ALS, EASE, RANKER
from training.tuning.trials import Trial
from training.tuning.verdict import Verdict, compare

log = structlog.get_logger(__name__)

_SHARES: Final = {"als": 0.35, "ease": 0.15}
"""Parts of the trials for each source; the ranker has the others."""
_FEWEST: Final = 2
"""Trials of a search that can find anything: the first is what is in force."""


@dataclass(frozen=True, eq=False)
class Budget:
    """How long to search, where the trials are kept, and who hears of them."""

    trials: int
    folder: Path
    minutes: float | None = None
    tell: Callable[[Trial], None] = field(default=lambda _: None)


@dataclass(frozen=True, eq=False)
class Tuned:
    """What a search led to.

    Attributes
    ----------
    config
        The configuration to train with: tuned, or the one given.
    values
        Settings in which it differs from the one given, by path.
    found
        Settings of the best trials, taken or not.
    trials
        All of them, of former processes as well.
    reproducible
        Whether a repetition would do the same trials: false where time was limited.
    """

    config: TrainingConfig
    values: dict[str, float]
    found: dict[str, float]
    verdict: Verdict
    trials: tuple[Trial, ...]
    reproducible: bool

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "verdict": self.verdict.to_json(),
            "taken": self.values,
            "found": self.found,
            "reproducible": self.reproducible,
            "trials": [msgspec.to_builtins(trial) for trial in self.trials],
        }


def tune(
    training: Training,
    moments: list[Moment],
    config: TrainingConfig,
    budget: Budget,
    progress: Progress = silent,
) -> Tuned:
    """Return the configuration to train with, after a search within the training data.

    Parameters
    ----------
    training
        What may be learned from; nothing after its end is seen.
    moments
        As the ranker has them, the latest first.

    Raises
    ------
    ContractError
        If there are none, or nothing at them to score trials by.
    """
    if not moments:
        raise ContractError(
            f"{len(training.interactions)} interactions are too few to search settings on: at least one user needs so "
            "many that some can be held out, such as 5. Search on more, or train without a search."
        )
    told: dict[str, Trial] = {}

    def tell(trial: Trial) -> None:
        told[trial.name] = trial
        budget.tell(trial)
        progress(f"tuning: {len(told)} of {budget.trials} trials, {trial.name} scored {trial.score:.4f}")

    deadline = None if budget.minutes is None else time.monotonic() + 60 * budget.minutes
    with open_journal(budget.folder) as storage:
        searcher = Searcher(storage, origin_of(training, config, budget.trials), config.seed, deadline, tell)
        search = _Search(training, moments, config, budget.trials, searcher, progress)
        best, verdict = search.run()
    log.info("tuning ended", trials=len(told), verdict=verdict.reason)
    found = difference(config, best)
    return Tuned(
        config=best if verdict.taken else config,
        values=found if verdict.taken else {},
        found=found,
        verdict=verdict,
        trials=tuple(told.values()),
        reproducible=budget.minutes is None,
    )


def origin_of(training: Training, config: TrainingConfig, trials: int) -> str:
    """Return what tells one search from another: data, catalogue, end of training, seed, first settings, and length.

    By its length sources have their shares, and so the ranker its candidates: scores of other ones say nothing.
    """
    known, categories, facts = training.interactions, training.categories, training.facts
    digest = hashlib.sha256(msgspec.json.encode((config.parameters(), categories.names)))
    of_catalogue = (categories.offsets, categories.index, facts.price, facts.year)
    told = (None if training.texts is None else training.texts.vectors, training.came_at)
    of_rows = (known.user, known.item, known.at_us, known.weight, known.rating)
    for array in (*of_rows, *of_catalogue, *(entry for entry in told if entry is not None)):
        digest.update(array.tobytes())
    return f"{trials} trials on {len(known)} interactions until {training.until_us}, {digest.hexdigest()[:16]}"


def difference(config: TrainingConfig, other: TrainingConfig) -> dict[str, float]:
    """Return the settings, of those that a search may move, in which another configuration differs."""
    paths = [knob.path for knob in (*ALS, *EASE, *RANKER)]
    return {path: value_of(other, path) for path in paths if value_of(other, path) != value_of(config, path)}


def shares(trials: int, config: TrainingConfig) -> dict[str, int]:
    """Return how many of the trials each source has; the ranker has the others.

    >>> shares(20, TrainingConfig()), shares(3, TrainingConfig())
    ({'als': 7, 'ease': 3}, {})
    """
    wanted = {name: round(share * trials) for name, share in _SHARES.items() if name not in config.without}
    return {name: number for name, number in wanted.items() if number >= _FEWEST}


@dataclass(frozen=True, eq=False)
class _Search:
    training: Training
    moments: list[Moment]
    config: TrainingConfig
    trials: int
    searcher: Searcher
    progress: Progress

    def run(self) -> tuple[TrainingConfig, Verdict]:
        """Return the best configuration found, and whether it is to be taken."""
        of_sources = shares(self.trials, self.config)
        users = np.flatnonzero(scored_by(self.moments[0].users))[: self.config.ranker.users_per_slice]
        found = self._sources(of_sources, SourceJudge(self.moments[0], users, self.config.history_limit))
        candidates = candidates_of(self.training, self.moments, self.config, self.progress)
        fitted = candidates.fit(self.config)
        default = served_values(fitted, candidates.aside)
        settings = self.config
        if found != settings:
            others = candidates_of(self.training, self.moments, found, self.progress)
            again = others.fit(found)
            if served_score(again) > served_score(fitted):
                settings, candidates, fitted = found, others, again
        best = self._ranker(self.trials - sum(of_sources.values()), settings, candidates, fitted.chosen)
        tuned = served_values(candidates.fit(best) if best != settings else fitted, candidates.aside)
        return best, compare(default, tuned, self.config.seed)

    def _sources(self, trials: dict[str, int], judge: SourceJudge) -> TrainingConfig:
        found = self.config
        for stage in STAGES:
            if stage.name in trials:
                score = partial(stage.score, judge)
                found = self.searcher.best(stage.name, stage.knobs, trials[stage.name], found, score)
        return found

    def _ranker(self, trials: int, settings: TrainingConfig, candidates: Candidates, chosen: str) -> TrainingConfig:
        """Return the configuration of the best ranker; trials fit only the objectives that are best by default."""
        objectives = tuple(chosen.split(" + "))

        def score(config: TrainingConfig) -> float:
            return served_score(candidates.fit(replace(config, ranker=replace(config.ranker, objectives=objectives))))

        return self.searcher.best("ranker", RANKER, trials, settings, score)
