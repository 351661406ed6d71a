"""Where new items stand among the others: where both are liked as often."""

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.support.synthetic import SMALL
from training.bundle.fresh import placed
from training.bundle.offered import SPEC
from training.bundle.plan import FreshPlan
from training.bundle.sources import BY_TEXT, FRESH, SOURCES
from training.fresh_fit import ALONE, WITH, calibration, fit_fresh
from training.fresh_slices import FreshSlices
from training.group_file import GroupFile
from training.groups import Group
from training.metrics import Floats

N_USERS = 400


def groups(chance: Sequence[float], seed: int) -> tuple[list[Group], list[Floats]]:
    """Return lists whose candidates are liked with these chances, best first by a source, and their log odds."""
    rng = np.random.default_rng(seed)
    found = []
    for user in range(N_USERS):
        gain = (rng.random(len(chance)) < chance).astype(np.float32)
        ranks = np.full((len(chance), len(SOURCES)), np.nan, np.float32)
        ranks[:, SOURCES.index(FRESH)] = np.arange(1, len(chance) + 1)
        rows = np.zeros((len(chance), len(SPEC)), np.float32)
        found.append(Group(rows, ranks, gain, max(int(gain.sum()), 1), user=user))
    odds = np.log(np.array(chance) / (1 - np.array(chance)))
    return found, [odds] * N_USERS


def of_new(later: list[Group], known: list[Group]) -> FreshSlices:
    """Return slices of which too little is learned from for a ranker."""
    none = [np.zeros(len(group.gain), bool) for group in known]
    return FreshSlices(GroupFile(later), none, GroupFile(later[:5]), dict.fromkeys(BY_TEXT, 20))


def test_new_items_stand_where_known_ones_are_liked_as_often() -> None:
    known, scores = groups([0.5, 0.3, 0.2, 0.1, 0.05, 0.02], seed=0)
    later, _ = groups([0.25, 0.1, 0.04], seed=1)
    fit = fit_fresh(of_new(later, known), known, scores, SMALL)
    own = 1 / (60 + np.arange(1.0, 4))
    where = placed(own, scores[0], fit.plan)
    chances = 1 / (1 + np.exp(-where))
    assert fit.ranker is None
    assert fit.plan.order_by in SOURCES
    assert fit.plan.joins
    assert chances == pytest.approx([0.25, 0.1, 0.04], rel=0.4)
    assert fit.validation[WITH] > fit.validation[ALONE]


def test_new_items_that_nobody_likes_stay_below_all_others() -> None:
    known, scores = groups([0.5, 0.3, 0.2], seed=0)
    later, _ = groups([1e-9, 1e-9], seed=1)
    fit = fit_fresh(of_new(later, known), known, scores, SMALL)
    assert not fit.plan.joins
    assert placed(np.array([0.2, 0.9]), scores[0], fit.plan).max() < scores[0].min()


def test_new_items_alone_stand_in_their_order_wherever_they_are_put() -> None:
    own = np.array([0.3, -0.2, 0.9])
    for how in (None, FreshPlan("fresh", 2.0, -1.0, joins=True), FreshPlan("fresh", 2.0, -1.0, joins=False)):
        assert np.argsort(placed(own, np.empty(0), how)).tolist() == [1, 0, 2]
        assert len(placed(np.empty(0), np.empty(0), how)) == 0


def test_calibration_is_that_of_the_scores_as_they_are() -> None:
    known, scores = groups([0.5, 0.3, 0.2, 0.1], seed=2)
    hit = np.concatenate([group.hit for group in known])
    model = LogisticRegression(C=np.inf).fit(np.concatenate(scores)[:, None], hit)
    assert calibration(known, scores) == pytest.approx((model.coef_[0, 0], model.intercept_[0]), abs=1e-2)
    assert calibration(known, [3 * score + 7 for score in scores])[0] == pytest.approx(model.coef_[0, 0] / 3, abs=1e-2)
