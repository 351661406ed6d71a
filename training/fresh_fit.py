"""The ranker of new items, and where its scores stand among those of the other: found on the validation slice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import structlog
from sklearn.linear_model import LogisticRegression

from training.bundle.fresh import placed
from training.bundle.fusion import order_scores
from training.bundle.plan import RANKER, FreshPlan
from training.bundle.ranker import Ranker
from training.config import TrainingConfig
from training.fresh_slices import FreshSlices
from training.groups import Group
from training.metrics import Floats
from training.ranker import fit_ranker, unless_led, validated

log = structlog.get_logger(__name__)

FEWEST_LISTS: Final = 50
"""Lists with something liked that a ranker learns from at least; a quarter of so many validate it."""
WITH: Final = "with new items"
ALONE: Final = "known items alone"


@dataclass(frozen=True, eq=False)
class FreshFit:
    """How new items are ordered, and stand among the others.

    Attributes
    ----------
    ranker
        Fitted on all groups; None where a source orders them better.
    plan
        Where its scores stand.
    validation
        NDCG@10 on the later slice: of new items among themselves by method, over the users who liked some; and of
        whole lists, `WITH` and `ALONE`, over all.
    budgets
        Candidates of each source that reads texts.
    """

    ranker: Ranker | None
    plan: FreshPlan
    validation: dict[str, float]
    budgets: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return what reports show, as JSON values."""
        return {
            "order_by": self.plan.order_by,
            "joins": self.plan.joins,
            "slope": self.plan.slope,
            "offset": self.plan.offset,
            "validation_ndcg@10": self.validation,
        }


def fit_fresh(
    slices: FreshSlices, known: Sequence[Group], known_scores: Sequence[Floats], config: TrainingConfig
) -> FreshFit:
    """Return how new items are ordered, by a ranker if there is enough to learn from, and where they stand.

    Parameters
    ----------
    known, known_scores
        Groups of other candidates on the latest slice, and the scores that order these where nothing was learned of
        that slice: the other ranker's, or those of what serves in its place.
    """
    later = list(slices.later)
    order_by, ranker, own, among = _ordered(slices.earlier, later, config, slices.budgets)
    plan = _plan(order_by, calibration(known, known_scores), calibration(later, own))
    values: dict[str, list[float]] = {WITH: [], ALONE: []}
    asked = max(sum(group.relevant > 0 for group in later), 1)
    for new, new_scores, group, scores, displaced in zip(
        later, own, known, known_scores, slices.displaced, strict=True
    ):
        left, kept = group.take(np.flatnonzero(~displaced)), scores[~displaced]
        values[ALONE].append(left.ndcg(kept))
        values[WITH].append(left.joined(new).ndcg(np.concatenate((kept, placed(new_scores, kept, plan)))))
    found = {name: np.array(entry) for name, entry in values.items()}
    joins = plan.joins and unless_led(found, WITH) == WITH
    validation = {name: value * len(later) / asked for name, value in among.items()}
    validation |= {name: float(entry.mean()) for name, entry in found.items()}
    log.info("new items", order_by=order_by, joins=joins, ndcg=validation)
    plan = FreshPlan(plan.order_by, plan.slope, plan.offset, joins)
    return FreshFit(ranker, plan, validation, slices.budgets)


def _ordered(
    earlier: Sequence[Group], later: Sequence[Group], config: TrainingConfig, budgets: Mapping[str, int]
) -> tuple[str, Ranker | None, Sequence[Floats], Mapping[str, float]]:
    """Return what orders new items, the ranker if it is one, its scores of the later groups, and NDCG@10 by method."""
    learned, judged = (sum(bool(group.hit.any()) for group in groups) for groups in (earlier, later))
    if learned >= FEWEST_LISTS and judged >= FEWEST_LISTS // 4:
        fit = fit_ranker(earlier, later, config, budgets)
        if fit.order_by == RANKER:
            return RANKER, fit.ranker, fit.scores, fit.validation
        order_by, values = fit.order_by, fit.validation
    else:
        log.info("too few lists for a ranker of new items", learned=learned, validated=judged, wanted=FEWEST_LISTS)
        values = {name: float(entry.mean()) for name, entry in validated(later, {}).items()}
        order_by = max(values, key=lambda name: values[name])
    return order_by, None, [order_scores(group.ranks, order_by) for group in later], values


def calibration(groups: Sequence[Group], scores: Sequence[Floats]) -> tuple[float, float]:
    """Return slope and intercept of the logistic regression of being liked on a score (Platt)."""
    score = np.concatenate(list(scores))
    hit = np.concatenate([group.hit for group in groups])
    if not hit.any() or hit.all():
        return 0.0, 0.0
    middle, width = float(score.mean()), max(float(score.std()), 1e-12)
    model = LogisticRegression(C=1e6).fit(((score - middle) / width)[:, None], hit)
    slope = float(model.coef_[0, 0]) / width
    return slope, float(model.intercept_[0]) - slope * middle


def _plan(order_by: str, known: tuple[float, float], new: tuple[float, float]) -> FreshPlan:
    """Return where new items stand: an own score is worth the known one whose candidates are liked as often."""
    if known[0] <= 0 or new[0] <= 0:
        return FreshPlan(order_by, 1.0, 0.0, joins=False)
    return FreshPlan(order_by, new[0] / known[0], (new[1] - known[1]) / known[0], joins=True)
