"""One training from interactions to the parts of a bundle: retrieval, moments, ranker, and the choice what serves."""

from collections.abc import Callable, Mapping
from itertools import groupby

import numpy as np

from features.contracts.profiles import Options
from training.budgets import choose_budgets
from training.bundle.parts import Parts
from training.bundle.plan import sources_on
from training.bundle.recommender import Recommender
from training.config import TrainingConfig
from training.groups import Group, candidate_groups
from training.moments import Moment
from training.ranker import RankerFit, fit_ranker
from training.retrieval import Training, at_moment, fit_retrieval

Progress = Callable[[str], None]

_VALIDATION_SHARE = 4
"""Where there is but one slice, one of so many of its users is kept for validation."""


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
    positives that retrieval missed are never injected. Moments that share a fit of retrieval are a slice; the latest
    slice validates: by it budgets, objectives and the number of trees are chosen, on what the earlier ones taught.
    """
    options = Options(include_seen=not config.exclude_seen)
    rng = np.random.default_rng(config.seed)
    later: list[Group] = []
    earlier: list[Group] = []
    budgets: Mapping[str, int] = {}
    for number, (learned, sharing) in enumerate(groupby(moments, key=lambda moment: id(moment.learned))):
        del learned
        together = list(sharing)
        progress(f"slice {number + 1}: {len(together)} moments, {sum(len(moment.users) for moment in together)} users")
        recommender = fit_retrieval(at_moment(training, together[0].learned), config).recommender()
        budgets = budgets or _budgets(recommender, together[0], config, options)
        recommender = recommender.with_budgets(budgets)
        for moment in together:
            chosen = np.sort(rng.permutation(len(moment.users))[: config.ranker.users_per_slice // len(together)])
            (earlier if number else later).extend(candidate_groups(recommender, moment, chosen, options))
    progress(f"ranker, of {len(earlier)} + {len(later)} users")
    if not earlier:
        kept = later[::_VALIDATION_SHARE]
        earlier, later = [group for number, group in enumerate(later) if number % _VALIDATION_SHARE], kept
    return fit_ranker(earlier, later, config, budgets)


def _budgets(recommender: Recommender, moment: Moment, config: TrainingConfig, options: Options) -> Mapping[str, int]:
    on = sources_on(config.without, exclude_seen=config.exclude_seen)
    return choose_budgets(recommender, moment, on, mean_candidates=config.candidates, options=options, seed=config.seed)
