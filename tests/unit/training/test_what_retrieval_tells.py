"""Budgets, affinities and the ranker of a bundle, against what they say they compute."""

from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest

from features.contracts.errors import ContractError
from features.contracts.profiles import Options
from features.contracts.statistics import DAY_US
from tests.support.synthetic import SMALL, START_US, make_categories, make_facts, make_interactions
from training.budgets import LEAST, STEP, choose_budgets, offered_to
from training.bundle.affinities import READ, affinities, affinity_features
from training.bundle.offered import SPEC
from training.bundle.plan import sources_on
from training.bundle.ranker import HEAD_TREES, KEPT, Ranker
from training.bundle.sources import BY_TEXT, POPULAR_PLANS, REPEAT, SOURCES, User
from training.config import TrainingConfig
from training.moments import moment_of, position_moments
from training.ranker import CLOCK, column_rules, fit_ranker, unless_led
from training.ranker_data import RankerData, ranker_data
from training.retrieval import Training, at_moment, fit_retrieval
from training.slices import make_slices
from training.split import cutoff_split

INTERACTIONS = make_interactions(n_users=80).on_backtest_clock()
TRAINING = Training(INTERACTIONS, make_categories(), make_facts(), int(INTERACTIONS.at_us[-1]) + 1)


def test_budgets_start_even_grow_in_steps_and_stop_at_the_mean() -> None:
    moment = position_moments(INTERACTIONS, 0.2, 1)[0]
    recommender = fit_retrieval(at_moment(TRAINING, moment.learned), SMALL).recommender()
    on = TrainingConfig(without=("ease",)).sources_on(texts=False)
    offered = list(offered_to(recommender, [moment], Options(), 0, SOURCES))
    few = choose_budgets(offered, on, mean_candidates=1)
    assert {few[name] for name in on} == {LEAST}
    assert few["ease"] == few[REPEAT] == 0
    more = choose_budgets(offered, on, mean_candidates=45)
    assert sum(more.values()) > sum(few.values())
    assert all(budget % STEP == 0 and budget >= few[name] for name, budget in more.items())


def test_sources_that_nobody_knows_and_leaving_new_users_with_nothing_are_refused() -> None:
    with pytest.raises(ContractError, match="source 'eas' is unknown; sources are als"):
        sources_on(("eas",))
    with pytest.raises(ContractError, match="new users get nothing else"):
        sources_on(tuple(POPULAR_PLANS))
    assert set(sources_on()) == set(SOURCES)
    assert REPEAT not in TrainingConfig().sources_on(texts=True)
    assert REPEAT in TrainingConfig(exclude_seen=False).sources_on(texts=True)
    assert not set(BY_TEXT) & set(TrainingConfig().sources_on(texts=True))
    assert not set(BY_TEXT) & set(TrainingConfig(new_items=True).sources_on(texts=False))
    assert set(BY_TEXT) <= set(TrainingConfig(new_items=True).sources_on(texts=True))


def test_affinities_equal_brute_force() -> None:
    parts = fit_retrieval(TRAINING, SMALL)
    rng = np.random.default_rng(0)
    item, weight = rng.integers(80, size=30).astype(np.int32), rng.choice([-1.0, 0.0, 0.7, 1.0], 30).astype(np.float32)
    candidates = np.sort(rng.choice(80, 25, replace=False)).astype(np.int32)
    found = affinities(User(item, weight, None), candidates, parts.tables)
    names = [feature.name for feature in affinity_features()]
    liked, disliked = item[weight > 0][:20], item[weight < 0][:20]
    for table in READ:
        each = np.zeros((80, 80))
        known = parts.tables[table]
        each[np.repeat(np.arange(80), np.diff(known.offsets)), known.index] = known.value
        for window in (1, 5, 20):
            expected = each[liked[:window]].sum(axis=0)[candidates]
            np.testing.assert_allclose(found[:, names.index(f"{table}_last_{window}")], expected, rtol=1e-4, atol=1e-6)
        goes = each[liked][:, candidates]
        np.testing.assert_allclose(found[:, names.index(f"{table}_best_20")], goes.max(axis=0), rtol=1e-5)
        first = np.where((goes > 0).any(axis=0), (goes > 0).argmax(axis=0), np.nan)
        np.testing.assert_array_equal(found[:, names.index(f"{table}_ago")], first)
        if table == "similar":
            np.testing.assert_allclose(found[:, -1], each[disliked].sum(axis=0)[candidates], rtol=1e-4, atol=1e-6)


def test_the_best_keep_the_scores_of_all_trees_and_their_order() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 6)).astype(np.float32)
    wanted = rows[:, 0] + 0.5 * rows[:, 1] > 0.8
    parameters = {"objective": "binary", "verbose": -1, "num_threads": 1, "seed": 0}
    models = tuple(lgb.train(parameters, lgb.Dataset(rows, wanted), trees) for trees in (100, 40))
    ranker = Ranker(models, (1.0, 0.5))
    assert ranker.n_trees == 140 > 2 * HEAD_TREES
    full, top = ranker.scores(rows), ranker.top_scores(rows, 10)
    best = np.argsort(-top, kind="stable")
    np.testing.assert_array_equal(top[best[:KEPT]], full[best[:KEPT]])
    assert top[best[KEPT:]].max() < top[best[:KEPT]].min()
    assert best[:10].tolist() == np.argsort(-full, kind="stable")[:10].tolist()
    np.testing.assert_allclose(ranker.contributions(rows).sum(axis=1), full, rtol=1e-6)
    assert ranker.importance.sum() == pytest.approx(1)


def test_of_a_single_slice_nobody_validates_what_is_learned_of_them() -> None:
    first, second = (START_US + day * DAY_US for day in (20, 25))
    earlier = moment_of(INTERACTIONS, cutoff_split(INTERACTIONS, first), first)
    later = moment_of(INTERACTIONS, cutoff_split(INTERACTIONS, second), second, learned=earlier.learned)
    slices = make_slices(TRAINING, [earlier, later], SMALL)
    validating, teaching = set(slices.later.user), set(slices.earlier.user)
    assert not validating & teaching
    assert len(validating) == -(-len(validating | teaching) // 4)
    assert len(slices.later) + len(slices.earlier) == len(earlier.users) + len(later.users)


@pytest.mark.parametrize(("distinct_hours", "left_alone"), [(1, True), (40, False)])
def test_the_clock_is_left_alone_where_moments_are_few(distinct_hours: int, left_alone: bool) -> None:  # noqa: FBT001
    slices = make_slices(TRAINING, position_moments(INTERACTIONS, 0.2, 2), SMALL)
    made = ranker_data(slices.earlier, slices.later, SMALL, slices.budgets, SPEC)
    groups = list(slices.later)
    for number, group in enumerate(groups):
        group.rows[:, [SPEC.names.index(name) for name in CLOCK]] = number % distinct_hours, 0
    contributions = dict(zip(SPEC.names, clock_free(replace(made, validation=groups)), strict=True))
    assert [contributions[name] == 0 for name in CLOCK] == [left_alone, left_alone]
    assert contributions["item_age"] == 1


def clock_free(made: RankerData) -> list[float]:
    found = column_rules(made)["feature_contri"]
    assert isinstance(found, list)
    return found


def test_the_default_serves_unless_another_clearly_leads() -> None:
    rng = np.random.default_rng(0)
    ranker = rng.random(400)
    trend = ranker + rng.normal(0, 0.2, 400)
    trend += ranker.mean() + 0.005 - trend.mean()  # half a standard error ahead
    assert unless_led({"ranker": ranker, "trend_1d": trend, "als": ranker - 0.1}, "ranker") == "ranker"
    assert unless_led({"ranker": ranker, "trend_1d": trend + 0.02, "als": ranker - 0.1}, "ranker") == "trend_1d"
    assert unless_led({"ranker": ranker, "trend_1d": trend + 0.02}, "ranker", handicap=0.1) == "ranker"
    assert unless_led({"ranker": np.empty(0), "als": np.empty(0)}, "ranker") == "ranker"


@pytest.mark.parametrize(("n_led", "order_by"), [(1, "ranker"), (5, "ranker"), (6, "popular")])
def test_a_lead_on_a_few_lists_is_not_clear(n_led: int, order_by: str) -> None:
    ranker = np.full(n_led, 0.63)
    assert unless_led({"ranker": ranker, "popular": np.ones(n_led)}, "ranker", 0.05) == order_by
    same = np.full(30, 0.1)
    values = {"ranker": np.concatenate((ranker, same)), "popular": np.concatenate((np.ones(n_led), same))}
    assert unless_led(values, "ranker", 0.05) == order_by


def test_rankers_fitted_side_by_side_are_those_fitted_one_by_one() -> None:
    slices = make_slices(TRAINING, position_moments(INTERACTIONS, 0.2, 2), SMALL)
    fits = [
        fit_ranker(slices.earlier, slices.later, replace(SMALL, threads=threads), slices.budgets) for threads in (1, 2)
    ]
    assert len(fits[0].ranker.models) == 2 * SMALL.ranker.fits
    assert fits[0].validation == fits[1].validation
    rows = np.concatenate([group.rows for group in slices.later])
    np.testing.assert_array_equal(fits[0].ranker.scores(rows), fits[1].ranker.scores(rows))


def test_what_serves_is_the_mean_of_fits_that_drew_other_rows_and_columns() -> None:
    slices = make_slices(TRAINING, position_moments(INTERACTIONS, 0.2, 2), SMALL)
    one, three = (
        fit_ranker(slices.earlier, slices.later, config, slices.budgets).ranker
        for config in (replace(SMALL, ranker=replace(SMALL.ranker, fits=fits)) for fits in (1, 3))
    )
    rows = np.concatenate([group.rows for group in slices.later])
    of_each = [Ranker(three.models[start : start + 2], one.shares).scores(rows) for start in (0, 2, 4)]
    np.testing.assert_array_equal(of_each[0], one.scores(rows))
    assert len({tuple(scores.tolist()) for scores in of_each}) == 3
    np.testing.assert_allclose(three.scores(rows), np.mean(of_each, axis=0))


def test_likes_that_were_all_taken_back_are_refused_as_none() -> None:
    regretted = INTERACTIONS.take(np.array([0, 0]))
    regretted = replace(regretted, weight=np.array([2, -2], np.float32))
    with pytest.raises(ContractError, match="none of 2 interactions shows that an item was liked"):
        fit_retrieval(at_moment(TRAINING, regretted), SMALL)
