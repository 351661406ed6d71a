"""One training from interactions to the parts of a bundle: retrieval, moments, ranker, and the choice what serves."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec
import numpy as np

from features.contracts.profiles import Options
from training.budgets import choose_budgets
from training.bundle.parts import Parts
from training.bundle.plan import sources_on
from training.config import TrainingConfig
from training.groups import Group, candidate_groups
from training.moments import Moment
from training.ranker import RankerFit, fit_ranker
from training.retrieval import Training, at_moment, fit_retrieval

Progress = Callable[[str], None]

_VALIDATION_SHARE = 4
"""Where there is but one moment, one of so many of its users is kept for validation."""


def fit(
    training: Training, moments: list[Moment], config: TrainingConfig, progress: Progress = lambda _: None
) -> tuple[Parts, RankerFit]:
    """Return the parts of a bundle, and how the ranker did on its validation slice.

    The ranker learns at the moments; retrieval is then fitted on all of the training data and the ranker is kept.
    """
    ranker = fit_at_moments(training, moments, config, progress)
    progress("retrieval on all training data")
    return ranker.choose(fit_retrieval(training, config)), ranker


def fit_at_moments(
    training: Training, moments: list[Moment], config: TrainingConfig, progress: Progress = lambda _: None
) -> RankerFit:
    """Return a ranker that learned at the given moments (the latest first).

    For each moment retrieval is fitted on what was known before it, and candidates come from the code that serves;
    positives that retrieval missed are never injected. The latest moment is the validation slice: by it budgets,
    objectives and the number of trees are chosen, on what the earlier ones taught.
    """
    rng = np.random.default_rng(config.seed)
    options = Options(include_seen=not config.exclude_seen)
    budgets: Mapping[str, int] = {}
    found: list[list[Group]] = []
    for number, moment in enumerate(moments):
        progress(f"moment {number + 1} of {len(moments)}: {len(moment.users)} users")
        parts = fit_retrieval(at_moment(training, moment.history), config)
        budgets = budgets or choose_budgets(
            parts.recommender(),
            moment,
            sources_on(config.without, exclude_seen=config.exclude_seen),
            mean_candidates=config.candidates,
            options=options,
            seed=config.seed,
        )
        parts = replace(parts, plan=msgspec.structs.replace(parts.plan, budgets=dict(budgets)))
        chosen = np.sort(rng.permutation(len(moment.users))[: config.ranker.users_per_moment])
        found.append(candidate_groups(parts.recommender(), moment, chosen, options))
    progress("ranker")
    later, *earlier = found
    if not earlier:
        kept = later[::_VALIDATION_SHARE]
        earlier, later = [[group for number, group in enumerate(later) if number % _VALIDATION_SHARE]], kept
    return fit_ranker([group for groups in earlier for group in groups], later, config, budgets)
