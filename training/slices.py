"""What a ranker learns from and is validated on: groups of users at past moments, a later slice and earlier ones."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

from features.contracts.profiles import Options
from training.budgets import choose_budgets, offered_to
from training.bundle.parts import Parts
from training.bundle.sources import BY_TEXT
from training.config import TrainingConfig
from training.fresh_slices import FreshMaker, FreshSlices
from training.group_file import GroupFile
from training.groups import candidate_groups
from training.moments import Moment
from training.progress import Progress, silent
from training.retrieval import Training, at_moment, fit_retrieval

_VALIDATION_SHARE: Final = 4
"""Where there is but one slice, one of so many of its users is kept for validation."""


@dataclass(frozen=True, eq=False)
class Slices:
    """Groups of the latest slice, which validates, and of all earlier ones; and the budgets of their candidates.

    `fresh` is the same of items without a history, for the same users; None where no ranker is to learn of these.
    """

    later: GroupFile
    earlier: GroupFile
    budgets: Mapping[str, int]
    fresh: FreshSlices | None = None


def make_slices(
    training: Training,
    moments: list[Moment],
    config: TrainingConfig,
    progress: Progress = silent,
    *,
    with_fresh: bool = True,
) -> Slices:
    """Return the groups of the given moments (the latest first).

    For each slice (moments that share a fit) retrieval learns of what was known before it, and candidates come from the
    code that serves; positives that retrieval missed are never injected. Budgets are chosen on the latest slice.
    """
    options = Options(include_seen=not config.exclude_seen)
    rng = np.random.default_rng(config.seed)
    later, earlier = GroupFile(), GroupFile()
    budgets: Mapping[str, int] = {}
    has_texts = training.texts is not None
    on = [name for name in config.sources_on(texts=has_texts) if name not in BY_TEXT]
    fresh = FreshMaker.of(training, moments, config, options) if with_fresh and has_texts else None
    slices = [list(sharing) for _, sharing in groupby(moments, key=lambda moment: id(moment.learned))]
    for number, (together, parts) in enumerate(_with_retrieval(training, slices, config)):
        n_users = sum(len(moment.users) for moment in together)
        progress(f"slice {number + 1}: {len(together)} moments, {n_users} users")
        recommender = parts.recommender()
        offered = offered_to(recommender, together, options, config.seed, on)
        budgets = budgets or choose_budgets(offered, on, config.candidates)
        recommender = recommender.with_budgets(budgets)
        for moment in together:
            chosen = np.sort(rng.permutation(len(moment.users))[: config.ranker.users_per_slice // len(together)])
            begin = len(later)
            (earlier if number else later).extend(candidate_groups(recommender, moment, chosen, options))
            if fresh is not None:
                fresh.add(parts, together, moment, chosen, None if number else later.items[begin:])
    if earlier:
        return Slices(later, earlier, budgets, None if fresh is None else fresh.slices())
    validates = set(sorted(set(later.user))[::_VALIDATION_SHARE])
    validating = GroupFile(group for group in later if group.user in validates)
    return Slices(validating, GroupFile(group for group in later if group.user not in validates), budgets)


def _with_retrieval(
    training: Training, slices: Sequence[list[Moment]], config: TrainingConfig
) -> Iterator[tuple[list[Moment], Parts]]:
    """Yield slices and what retrieval learned before each, which is fitted while the slice before is worked on.

    Fits leave most of the interpreter's time to others, and groups are made by one thread. What both compute depends
    on how many threads BLAS may use, which is one number for the whole process: so it stays the same all the while.
    """

    def fitted(together: list[Moment]) -> Parts:
        return fit_retrieval(at_moment(training, together[0].learned), config)

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(1, "retrieval") as fitting:
        begun = fitting.submit(fitted, slices[0])
        for together, following in zip(slices, [*slices[1:], None], strict=True):
            parts = begun.result()
            if following is not None:
                begun = fitting.submit(fitted, following)
            yield together, parts
