"""What a ranker learns from and is validated on: groups of users at past moments, a later slice and earlier ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np

from features.contracts.profiles import Options
from training.budgets import choose_budgets
from training.bundle.parts import Parts
from training.bundle.recommender import Recommender
from training.config import TrainingConfig
from training.group_file import GroupFile
from training.groups import candidate_groups
from training.hiding import Hiding
from training.moments import Moment
from training.progress import Progress, silent
from training.retrieval import Training, at_moment, fit_retrieval

MOST_HIDDEN: Final = 0.25
"""Largest share of items that is hidden, however many of the catalogue have no history."""
HIDDEN_AT_TIMES: Final = 0.2
"""Share that is hidden at moments that have a time, where rankers are validated on items that are truly new."""
ENOUGH_NEW: Final = 0.01
"""Share of labels on items that nobody had met from which on these validate."""
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
    validating, learning = hidden_shares(training, moments, config)
    for number, (_, sharing) in enumerate(groupby(moments, key=lambda moment: id(moment.learned))):
        together = list(sharing)
        n_users = sum(len(moment.users) for moment in together)
        progress(f"slice {number + 1}: {len(together)} moments, {n_users} users")
        parts = fit_retrieval(at_moment(training, together[0].learned), config)
        recommender = _recommender(parts, config, learning if number else validating)
        budgets = budgets or _budgets(recommender, together, config, options)
        recommender = recommender.with_budgets(budgets)
        for moment in together:
            chosen = np.sort(rng.permutation(len(moment.users))[: config.ranker.users_per_slice // len(together)])
            (earlier if number else later).extend(candidate_groups(recommender, moment, chosen, options))
    if not earlier:
        earlier = GroupFile(group for number, group in enumerate(later) if number % _VALIDATION_SHARE)
        later = GroupFile(later[::_VALIDATION_SHARE])
    return Slices(later, earlier, budgets)


def hidden_shares(training: Training, moments: Sequence[Moment], config: TrainingConfig) -> tuple[float, float]:
    """Return the shares of items that are hidden from each user: on the latest slice, and on those before.

    Where moments have a time and what users liked next was new often enough, that is the truth about new items, and the
    latest slice hides nothing. All users of a moment meet the same few new items, though, and a ranker would learn them
    by heart: it learns where `HIDDEN_AT_TIMES` of the others are hidden too. Users who are cut by position meet items
    that all others know, and there as many are hidden as the catalogue has items that nobody met, at least
    `config.hidden_items` and at most `MOST_HIDDEN`, on all slices.
    """
    if not config.hidden_items:
        return 0.0, 0.0
    if all(moment.has_time for moment in moments):
        new = np.concatenate([~moment.met()[entry] for moment in moments for entry in moment.labels])
        if new.mean() >= ENOUGH_NEW:
            return 0.0, HIDDEN_AT_TIMES
    share = max(config.hidden_items, min(unmet_share(training), MOST_HIDDEN))
    return share, share


def unmet_share(training: Training) -> float:
    """Return the share of the catalogue that nobody has met."""
    interactions = training.interactions
    return 1 - len(np.unique(interactions.item)) / max(len(interactions.items), 1)


def _recommender(parts: Parts, config: TrainingConfig, hidden: float) -> Recommender | Hiding:
    """Return what makes candidates: with texts, and if the ranker is to learn of new items, it offers these too."""
    if parts.content is None or not config.hidden_items:
        return parts.recommender()
    return Hiding.of(parts, parts.content, hidden, config.seed)


def _budgets(
    recommender: Recommender | Hiding, moments: list[Moment], config: TrainingConfig, options: Options
) -> Mapping[str, int]:
    on = config.sources_on(texts=recommender.content is not None)
    return choose_budgets(
        recommender, moments, on, mean_candidates=config.candidates, options=options, seed=config.seed
    )
