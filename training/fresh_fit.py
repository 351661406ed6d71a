"""The ranker of new items, and where its scores stand among those of the other: found on the validation slice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import structlog
from sklearn.linear_model import LogisticRegression

from training.bundle.content import PROMISE
from training.bundle.fresh import along_taste, by_promise, placed
from training.bundle.offered import SPEC
from training.bundle.plan import FreshPlan
from training.bundle.ranker import Ranker
from training.config import TrainingConfig
from training.fresh_slices import FreshSlices
from training.groups import Group
from training.metrics import Floats
from training.ranker import fit_ranker, unless_led

log = structlog.get_logger(__name__)

FEWEST_LISTS: Final = 20
"""Lists with something liked that a ranker learns from at least, and by which it is validated."""
_PROMISED: Final = SPEC.names.index(PROMISE)
TASTE: Final = 0.5
"""Share of `text_taste` beside the ranker, both by how far they spread on the validation slice; DECISIONS.md."""
OTHER_TASTES: Final = (0.0, 1.0, 2.0)
"""Shares that it is instead where they are clearly better there."""
WORTH: Final = 0.02
"""Share of NDCG@10 that lists may lose by new items on the validation slice: who is never shown is never liked."""
ERRORS: Final = 2.0
"""By so many standard errors it has to be clear where new items stand: where few were liked, they stand lower."""
WITH: Final = "with new items"
ALONE: Final = "known items alone"


@dataclass(frozen=True, eq=False)
class FreshFit:
    """How new items are ordered, and stand among the others.

    Attributes
    ----------
    ranker
        As it was validated: fitted on the earlier groups.
    plan
        Where its scores stand.
    validation
        NDCG@10 on the later slice: of new items among themselves by method, over the users who liked some; and of
        whole lists, `WITH` and `ALONE`, over all.
    budgets
        Candidates of each source that reads texts.
    """

    ranker: Ranker
    plan: FreshPlan
    validation: dict[str, float]
    budgets: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return what reports show, as JSON values."""
        return {
            "joins": self.plan.joins,
            "slope": self.plan.slope,
            "offset": self.plan.offset,
            "taste": self.plan.taste,
            "promise": self.plan.promise,
            "validation_ndcg@10": self.validation,
        }


def fit_fresh(
    slices: FreshSlices,
    known: Sequence[Group],
    known_scores: Sequence[Floats],
    config: TrainingConfig,
) -> FreshFit | None:
    """Return the ranker of new items and where they stand, None where there is too little to learn from.

    It learns nothing of the slice that says where its scores stand: after one more fit they would stand elsewhere, by
    rows that it knows by heart nobody could say where, and new items filled lists, or never came into any.

    Parameters
    ----------
    known, known_scores
        Groups of other candidates on the latest slice, and the scores that order these where nothing was learned of
        that slice: the other ranker's, or those of what serves in its place.
    """
    later = list(slices.later)
    lists = [sum(bool(group.hit.any()) for group in groups) for groups in (slices.earlier, later)]
    if min(lists) < FEWEST_LISTS:
        log.info("too few lists for a ranker of new items", learned=lists[0], validated=lists[1], wanted=FEWEST_LISTS)
        return None
    fit = fit_ranker(slices.earlier, later, config, slices.budgets, refit=False)
    wary = wariness(later, fit.scores)
    guessed = [own + by_promise(group.rows, wary) for group, own in zip(later, fit.scores, strict=True)]
    taste, sums, tried = with_taste(later, guessed)
    usual = float(np.mean([len(scores) for scores in known_scores]))
    own_plan = msgspec.structs.replace(wary, taste=taste, candidates=usual)
    of_new = warily(calibration(later, sums), sum(int(group.hit.sum()) for group in later))
    plan = _standing(own_plan, calibration(known, by_place(known_scores)), of_new)
    values: dict[str, list[float]] = {WITH: [], ALONE: []}
    for new, own, group, scores, displaced in zip(later, sums, known, known_scores, slices.displaced, strict=True):
        left, kept = group.take(np.flatnonzero(~displaced)), scores[~displaced]
        values[ALONE].append(left.ndcg(kept))
        values[WITH].append(left.joined(new).ndcg(np.concatenate((kept, placed(own, kept, plan)))))
    found = {name: np.array(entry) for name, entry in values.items()}
    joins = plan.joins and unless_led(found, WITH, WORTH) == WITH
    of_all = len(later) / max(sum(group.relevant > 0 for group in later), 1)
    validation = {name: value * of_all for name, value in {**fit.validation, **tried}.items()}
    validation |= {name: float(entry.mean()) for name, entry in found.items()}
    log.info("new items", joins=joins, taste=taste, ndcg=validation)
    return FreshFit(fit.ranker, msgspec.structs.replace(plan, joins=joins), validation, slices.budgets)


def wariness(groups: Sequence[Group], scores: Sequence[Floats]) -> FreshPlan:
    """Return a plan by which promised popularity counts, for who has liked nothing, as much as it tells by itself.

    Both are measured by how much oftener items are liked: what a unit of it is worth over what a unit of the scores is.
    """
    promised = [group.rows[:, _PROMISED].astype(np.float64) for group in groups]
    known = np.concatenate(promised)
    usual = float(np.nanmean(known)) if np.isfinite(known).any() else 0.0
    told = calibration(groups, [np.nan_to_num(entry - usual) for entry in promised])[0]
    by_score = calibration(groups, scores)[0]
    unit = max(told, 0.0) / by_score if by_score > 0 else 0.0
    return FreshPlan(1.0, 0.0, joins=False, promise=unit, promised=usual)


def with_taste(groups: Sequence[Group], scores: Sequence[Floats]) -> tuple[float, list[Floats], dict[str, float]]:
    """Return what a unit of `text_taste` adds to a ranker's scores, the sums, and NDCG@10 of each share tried."""
    along = [along_taste(group.rows) for group in groups]
    spread = float(np.concatenate(along).std())
    unit = float(np.concatenate(list(scores)).std()) / spread if spread else 0.0
    named = {f"ranker + {share:g} taste": share for share in (TASTE, *OTHER_TASTES)}
    added = {
        name: [own + share * unit * more for own, more in zip(scores, along, strict=True)]
        for name, share in named.items()
    }
    values = {
        name: np.array([group.ndcg(own) for group, own in zip(groups, found, strict=True)])
        for name, found in added.items()
    }
    usual, *_ = named
    chosen = unless_led(values, usual)
    return unit * named[chosen], added[chosen], {name: float(found.mean()) for name, found in values.items()}


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


def warily(found: tuple[float, float], hits: int) -> tuple[float, float]:
    """Return a calibration by which items are liked less often, by `ERRORS` of log odds that so many hits tell of."""
    return found[0], found[1] - ERRORS / max(hits, 1) ** 0.5


def by_place(scores: Sequence[Floats]) -> list[Floats]:
    """Return for each candidate of some lists the logarithm of its place from 1 by its scores, negative."""
    return [-np.log1p(np.argsort(np.argsort(-one, kind="stable"), kind="stable")) for one in scores]


def _standing(plan: FreshPlan, known: tuple[float, float], new: tuple[float, float]) -> FreshPlan:
    """Return where new items stand: an own score at the place at which known candidates are liked as often.

    Parameters
    ----------
    known, new
        Slope and intercept of the log odds of being liked: on `by_place`, and on own scores.
    """
    if known[0] <= 0 or new[0] <= 0:
        return plan
    return msgspec.structs.replace(plan, slope=new[0] / known[0], offset=(known[1] - new[1]) / known[0], joins=True)
