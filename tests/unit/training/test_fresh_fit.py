"""Where new items stand among the others: where both are liked as often."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.support.synthetic import SMALL
from training.bundle.content import PROMISE, TASTE
from training.bundle.fresh import WARY, along_taste, by_promise, own_scores, placed
from training.bundle.offered import SPEC
from training.bundle.plan import FreshPlan
from training.bundle.sources import BY_TEXT, SOURCES
from training.fresh_fit import ALONE, WITH, FreshFit, by_place, calibration, fit_fresh, warily, wariness, with_taste
from training.fresh_slices import FreshSlices
from training.group_file import GroupFile
from training.groups import Group
from training.metrics import Floats

N_USERS = 400


def groups(chance: Sequence[float], seed: int) -> tuple[list[Group], list[Floats]]:
    """Return lists whose candidates are liked with these chances, which one column tells, and their log odds."""
    rng = np.random.default_rng(seed)
    found = []
    for user in range(N_USERS):
        gain = (rng.random(len(chance)) < chance).astype(np.float32)
        rows = np.zeros((len(chance), len(SPEC)), np.float32)
        rows[:, SPEC.names.index(PROMISE)] = chance
        ranks = np.full((len(chance), len(SOURCES)), np.nan, np.float32)
        found.append(Group(rows, ranks, gain, max(int(gain.sum()), 1), user=user))
    odds = np.log(np.array(chance) / (1 - np.array(chance)))
    return found, [odds] * N_USERS


def of_new(chance: Sequence[float]) -> FreshSlices:
    """Return slices of new items that are liked with these chances."""
    none = [np.zeros(0, bool)] * N_USERS
    earlier, later = (GroupFile(groups(chance, seed)[0]) for seed in (1, 2))
    return FreshSlices(later, none, earlier, {name: 20 * (name in BY_TEXT) for name in SOURCES})


def fitted(chance: Sequence[float]) -> tuple[FreshFit | None, list[Floats]]:
    """Return the fit of new items beside known ones, and the scores of these."""
    known, scores = groups([0.5 / place for place in range(1, 31)], seed=0)
    slices = replace(of_new(chance), displaced=[np.zeros(len(group.gain), bool) for group in known])
    return fit_fresh(slices, known, scores, SMALL), scores


@pytest.mark.parametrize("scale", [1.0, 0.1, 30.0])
def test_new_items_stand_where_known_ones_are_liked_as_often(scale: float) -> None:
    """However the ranker of the others spreads its scores, which one more fit may change."""
    fit, scores = fitted([0.25, 0.1, 0.04])
    assert fit is not None
    rows = groups([0.25, 0.1, 0.04], seed=3)[0][0].rows
    odds = placed(own_scores(fit.ranker, rows, fit.plan), scale * scores[0] + 5, fit.plan)
    chances = 1 / (1 + np.exp(-(odds - 5) / scale))
    assert fit.plan.joins
    assert chances[0] == pytest.approx(0.25, rel=0.35)
    assert chances[1:].mean() == pytest.approx(0.07, rel=0.4)  # one tree may order them: it parts no more
    assert (np.diff(chances) <= 0).all()
    assert fit.validation[WITH] > fit.validation[ALONE]


def test_places_are_those_of_a_usual_list_and_nearer_to_the_first_among_fewer() -> None:
    known, how = np.linspace(9.9, 0.0, 100), FreshPlan(1.0, 0.0, joins=True, candidates=100)
    own = -np.log([1.0, 20.0, 20.0, 100.0])
    assert placed(own, known, how) == pytest.approx([9.9, 8.0, 8.0, 0.0])
    assert placed(own, known[::10], how) == pytest.approx([9.9 + np.log(10) * 0.9, 8.9, 8.9, 0.9], abs=0.1)
    beyond = placed(-np.log([0.1, 0.5, 200.0, 1e9]), known, how)
    assert (np.diff(beyond) < 0).all()
    assert beyond[1] > known.max()
    assert beyond[2] < known.min()


def test_new_items_keep_their_order_where_all_others_are_scored_alike() -> None:
    own = np.array([0.3, -0.2, 0.9])
    found = placed(own, np.full(50, 0.25), FreshPlan(1.0, 9.0, joins=True, candidates=50))
    assert np.argsort(found).tolist() == [1, 0, 2]


def test_the_ranker_that_serves_is_the_one_whose_place_was_found() -> None:
    """Once it was fitted again on what it had been validated on: the scale was of other scores than those served."""
    slices = replace(of_new([0.25, 0.1, 0.04]), displaced=[np.zeros(6, bool)] * N_USERS)
    known, scores = groups([0.5, 0.3, 0.2, 0.1, 0.05, 0.02], seed=0)
    fit = fit_fresh(slices, known, scores, SMALL)
    assert fit is not None
    own = [own_scores(fit.ranker, group.rows, fit.plan) for group in slices.later]
    values = [group.ndcg(score) for group, score in zip(slices.later, own, strict=True)]
    assert np.mean(values) == pytest.approx(fit.validation["ranker + 0.5 taste"])
    hits = sum(int(group.hit.sum()) for group in slices.later)
    of_known, of_new_ones = calibration(known, by_place(scores)), warily(calibration(slices.later, own), hits)
    assert fit.plan.slope == pytest.approx(of_new_ones[0] / of_known[0])
    assert fit.plan.offset == pytest.approx((of_known[1] - of_new_ones[1]) / of_known[0])
    assert fit.plan.candidates == len(scores[0])


def test_where_nobody_likes_new_items_no_ranker_of_them_is_made() -> None:
    fit, scores = fitted([1e-9, 1e-9])
    assert fit is None
    assert placed(np.array([0.2, 0.9]), scores[0], None).max() < scores[0].min()


@pytest.mark.parametrize(("tells", "share"), [("ranker", 0.0), ("neither", 0.5), ("both", 1.0), ("taste", 2.0)])
def test_taste_is_added_as_far_as_it_orders_the_later_slice_better(tells: str, share: float) -> None:
    rng = np.random.default_rng(5)
    some, scores = [], []
    for group in groups([0.5, 0.3, 0.2, 0.1, 0.05, 0.02] * 2, seed=4)[0]:
        told, noise = (rng.normal(0, 0.1, 12) + shift for shift in (group.hit * 0.1, 0))
        group.rows[:, SPEC.names.index(TASTE)] = 3 * (noise if tells in {"ranker", "neither"} else told)
        some.append(group)
        scores.append(noise if tells in {"taste", "neither"} else group.hit * 0.1 + rng.normal(0, 0.1, 12))
    taste, sums, tried = with_taste(some, scores)
    spread = np.concatenate(scores).std() / np.concatenate([along_taste(group.rows) for group in some]).std()
    assert taste == pytest.approx(share * spread)
    assert sums[0] == pytest.approx(scores[0] + taste * along_taste(some[0].rows))
    assert tried[f"ranker + {share:g} taste"] >= max(tried.values()) - 0.02


def test_the_less_a_user_liked_the_more_counts_what_a_text_promises_everybody() -> None:
    some, scores = groups([0.5, 0.3, 0.2, 0.1], seed=4)
    rng = np.random.default_rng(6)
    for group in some:
        group.rows[:, SPEC.names.index(PROMISE)] = 2 + group.hit + rng.normal(0, 1, 4)
    plan = wariness(some, scores)
    rows, added = some[0].rows.copy(), []
    rows[0, SPEC.names.index(PROMISE)] = np.nan
    for events in (0, WARY, 1_000 * WARY):
        rows[:, SPEC.names.index("user_events")], rows[:, SPEC.names.index("user_liked")] = 2 * events, 0.5
        added.append(by_promise(rows, plan))
    beyond = np.nan_to_num(rows[:, SPEC.names.index(PROMISE)] - plan.promised)
    assert added[0] == pytest.approx(plan.promise * beyond)
    assert added[1] == pytest.approx(added[0] / 2)
    assert np.abs(added[2]).max() < np.abs(added[0]).max() / 500
    told = [group.rows[:, SPEC.names.index(PROMISE)].astype(np.float64) for group in some]
    assert plan.promised == pytest.approx(np.concatenate(told).mean())
    assert plan.promise == pytest.approx(calibration(some, told)[0] / calibration(some, scores)[0], rel=1e-3)


def test_where_texts_promise_nothing_nobody_is_wary() -> None:
    some, scores = groups([0.5, 0.3, 0.2, 0.1], seed=4)
    for group in some:
        group.rows[:, SPEC.names.index(PROMISE)] = 2 - group.hit
    assert wariness(some, scores).promise == 0


def test_where_no_text_tells_of_taste_nothing_is_added() -> None:
    some, scores = groups([0.5, 0.3, 0.2], seed=4)
    taste, sums, _ = with_taste(some, scores)
    assert taste == 0
    assert sums[0] == pytest.approx(scores[0])


def test_new_items_alone_stand_in_their_order_wherever_they_are_put() -> None:
    own = np.array([0.3, -0.2, 0.9])
    for how in (None, FreshPlan(2.0, -1.0, joins=True), FreshPlan(2.0, -1.0, joins=False)):
        assert np.argsort(placed(own, np.empty(0), how)).tolist() == [1, 0, 2]
        assert len(placed(np.empty(0), np.empty(0), how)) == 0


def test_calibration_is_that_of_the_scores_as_they_are() -> None:
    known, scores = groups([0.5, 0.3, 0.2, 0.1], seed=2)
    hit = np.concatenate([group.hit for group in known])
    model = LogisticRegression(C=np.inf).fit(np.concatenate(scores)[:, None], hit)
    assert calibration(known, scores) == pytest.approx((model.coef_[0, 0], model.intercept_[0]), abs=1e-2)
    assert calibration(known, [3 * score + 7 for score in scores])[0] == pytest.approx(model.coef_[0, 0] / 3, abs=1e-2)


def test_where_few_new_items_were_liked_they_stand_lower() -> None:
    few, some, many = (warily((2.0, -3.0), hits) for hits in (4, 100, 10**8))
    assert few == (2.0, -4.0)
    assert some == (2.0, -3.2)
    assert many == pytest.approx((2.0, -3.0), abs=1e-3)
