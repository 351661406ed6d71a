"""One training from interactions to the parts of a bundle: retrieval, moments, rankers, and the choice what serves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import structlog

from training.bundle.fusion import order_scores
from training.bundle.offered import SPEC
from training.bundle.parts import Parts
from training.bundle.plan import RANKER, default_budgets
from training.bundle.ranker import Ranker
from training.bundle.reference import Reference, reference_of
from training.bundle.sources import BY_TEXT
from training.config import TrainingConfig
from training.dislike_fit import strength_of_dislikes
from training.fresh_fit import FreshFit, fit_fresh
from training.group_file import GroupFile
from training.groups import Group
from training.moments import Moment
from training.progress import Progress, silent
from training.ranker import RankerFit, fit_ranker, unlearned
from training.retrieval import Training, fit_retrieval
from training.slices import Slices, make_slices

log = structlog.get_logger(__name__)

REFERENCE_LISTS: Final = 500
"""About so many lists tell how rows are spread: some 125,000 rows."""
FEWEST_UNLEARNED: Final = 100
"""Lists without anything liked that tell how scores are spread, at least."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """What orders candidates: the ranker of items with a history, and, if asked for, that of items without one.

    `reference` is how the rows of the latest slice were spread, None where there were none; `dislike` is how far down
    dislikes move what reads like them.
    """

    known: RankerFit
    fresh: FreshFit | None
    reference: Reference | None
    dislike: float

    def choose(self, parts: Parts) -> Parts:
        """Return the parts with the rankers, or ordered by the source or blend that is to serve instead."""
        known, fresh = self.known, self.fresh
        of_texts = parts.plan.budgets if fresh is None else fresh.budgets
        budgets = {**known.budgets, **{name: of_texts[name] for name in BY_TEXT}}
        plan = msgspec.structs.replace(
            parts.plan,
            budgets=budgets,
            order_by=known.order_by,
            cold_source=known.cold_source,
            dislike=self.dislike,
            fresh=None if fresh is None else fresh.plan,
        )
        order_by, cold_source = plan.order_by, plan.cold_source
        log.info("order chosen on validation", order_by=order_by, cold_source=cold_source, ndcg=known.validation)
        return replace(
            parts,
            plan=plan,
            ranker=known.ranker if known.order_by == RANKER else None,
            fresh_ranker=None if fresh is None else fresh.ranker,
            reference=self.reference,
        )


def fit(
    training: Training, moments: list[Moment], config: TrainingConfig, progress: Progress = silent
) -> tuple[Parts, Fitted]:
    """Return the parts of a bundle, and how its rankers did on their validation slice.

    Rankers learn at the moments; retrieval is then fitted on all of the training data and the rankers are kept.
    """
    fitted = fit_at_moments(training, moments, config, progress)
    progress("retrieval on all training data")
    return fitted.choose(fit_retrieval(training, config)), fitted


def fit_at_moments(
    training: Training, moments: list[Moment], config: TrainingConfig, progress: Progress = silent
) -> Fitted:
    """Return rankers that learned at the given moments (the latest first); without a list to learn from, none."""
    slices = make_slices(training, moments, config, progress) if moments else Slices(GroupFile(), GroupFile(), {})
    if not (_has_likes(slices.earlier) and _has_likes(slices.later)):
        return _unfitted(slices, config)
    progress(f"ranker: learns of {len(slices.earlier)} lists, validated on {len(slices.later)}")
    known = fit_ranker(slices.earlier, slices.later, config, slices.budgets)
    spread = spread_of(slices.later, known.ranker)
    by_ranker = known.order_by == RANKER
    scores = known.scores if by_ranker else [order_scores(group.ranks, known.order_by) for group in slices.later]
    dislike = strength_of_dislikes(slices.later, scores)
    if slices.fresh is None:
        return Fitted(known, None, spread, dislike)
    progress(f"ranker of new items: {len(slices.fresh.earlier)} lists")
    return Fitted(known, fit_fresh(slices.fresh, slices.later, scores, config), spread, dislike)


def _has_likes(groups: Sequence[Group]) -> bool:
    return any(group.hit.any() for group in groups)


def _unfitted(slices: Slices, config: TrainingConfig) -> Fitted:
    """Return what serves where no list tells what should stand above what: the blend of ranks, by equal budgets."""
    log.warning("nothing to learn an order from", lists=len(slices.earlier), validating=len(slices.later))
    known = unlearned(slices.later, default_budgets(config.sources_on(texts=False)))
    return Fitted(known, None, None, strength_of_dislikes(slices.later, known.scores))


def spread_of(groups: Sequence[Group], ranker: Ranker) -> Reference | None:
    """Return how the rows of some groups, and the ranker's scores, are spread; None where there are no rows.

    A ranker that has learned of a list tells its candidates further apart than those of others. So scores are taken of
    lists without anything liked, of which nothing is learned, where there are `FEWEST_UNLEARNED`.
    """
    some = groups[:: max(len(groups) // REFERENCE_LISTS, 1)]
    rows = _rows_of(some)
    if not len(rows):
        return None
    unlearned = list(islice((group for group in groups if not group.hit.any()), REFERENCE_LISTS))
    scored = _rows_of(unlearned) if len(unlearned) >= FEWEST_UNLEARNED else rows
    return reference_of(rows, ranker.scores(scored), SPEC.names, len(some))


def _rows_of(groups: Sequence[Group]) -> npt.NDArray[np.float32]:
    return np.concatenate([np.empty((0, len(SPEC.names)), np.float32), *(group.rows for group in groups)])
