"""What a ranker learns from and is validated on: groups of users at past moments, a later slice and earlier ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np

from features.contracts.profiles import Options
from training.budgets import choose_budgets
from training.bundle.plan import sources_on
from training.bundle.recommender import Recommender
from training.config import TrainingConfig
from training.group_file import GroupFile
from training.groups import candidate_groups
from training.moments import Moment
from training.progress import Progress, silent
from training.retrieval import Training, at_moment, fit_retrieval

_VALIDATION_SHARE: Final = 4
"""Where there is but one slice, one of so many of its users is kept for validation."""


@dataclass(frozen=True, eq=False)
class Slices:
    """Groups of the latest slice, which validates, and of all earlier ones; and the budgets of their candidates."""

    later: GroupFile
    earlier: GroupFile
    budgets: Mapping[str, int]


def make_slices(
    training: Training, moments: list[Moment], config: TrainingConfig, progress: Progress = silent
) -> Slices:
    """Return the groups of the given moments (the latest first).

    For each slice (moments that share a fit) retrieval learns of what was known before it, and candidates come from the
    code that serves; positives that retrieval missed are never injected. Budgets are chosen on the latest slice.
    """
    options = Options(include_seen=not config.exclude_seen)
    rng = np.random.default_rng(config.seed)
    later, earlier = GroupFile(), GroupFile()
    budgets: Mapping[str, int] = {}
    for number, (_, sharing) in enumerate(groupby(moments, key=lambda moment: id(moment.learned))):
        together = list(sharing)
        n_users = sum(len(moment.users) for moment in together)
        progress(f"slice {number + 1}: {len(together)} moments, {n_users} users")
        recommender = fit_retrieval(at_moment(training, together[0].learned), config).recommender()
        budgets = budgets or _budgets(recommender, together, config, options)
        recommender = recommender.with_budgets(budgets)
        for moment in together:
            chosen = np.sort(rng.permutation(len(moment.users))[: config.ranker.users_per_slice // len(together)])
            (earlier if number else later).extend(candidate_groups(recommender, moment, chosen, options))
    if not earlier:
        earlier = GroupFile(group for number, group in enumerate(later) if number % _VALIDATION_SHARE)
        later = GroupFile(later[::_VALIDATION_SHARE])
    return Slices(later, earlier, budgets)


def _budgets(
    recommender: Recommender, moments: list[Moment], config: TrainingConfig, options: Options
) -> Mapping[str, int]:
    on = sources_on(config.without, exclude_seen=config.exclude_seen)
    wanted = config.candidates
    return choose_budgets(recommender, moments, on, mean_candidates=wanted, options=options, seed=config.seed)
