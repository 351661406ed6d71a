"""What diversity costs and gains, and onboarding played through, on made-up users with tastes."""

import math

import numpy as np

from features.contracts.ids import MISSING
from features.contracts.profiles import Options
from features.items import Categories
from tests.support.synthetic import N_GROUPS, SMALL, make_categories, make_facts, make_interactions, trained
from training.bundle.diversity import Likeness
from training.evaluation.diversity import judge_diversity, variety
from training.evaluation.judged import Judged
from training.evaluation.onboarding import (
    LEAST_LIKED,
    NOTHING,
    OURS,
    POPULAR,
    RANDOM,
    HeldOut,
    held_out_tastes,
    hold_out_users,
    judge_onboarding,
)
from training.list_plots import plot_diversity, plot_onboarding
from training.retrieval import Training, fit_retrieval

PNG = b"\x89PNG"


def test_variety_of_a_list_follows_by_hand() -> None:
    factors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    categories = Categories(("a", "b"), np.array([0, 1, 2, 2]), np.array([0, 1], np.int32))
    found = variety(np.array([[0, 1, 2], [2, MISSING, MISSING]], np.int32), Likeness(factors, categories))
    # 0 and 1: factors alike, categories not, half of each; 2 has nothing in common with either.
    assert found["distance@10"][0] == 1 - 2 * 0.5 / 6
    assert math.isnan(found["distance@10"][1])
    assert (found["categories@10"][0], found["entropy@10"][0]) == (2, 1)
    assert math.isnan(found["categories@10"][1])


def judged() -> Judged:
    interactions = trained()[0]
    users = np.arange(40, dtype=np.int32)
    rng = np.random.default_rng(0)
    labels = [np.sort(rng.permutation(80)[:30]).astype(np.int32) for _ in users]
    as_of_us = np.full(len(users), int(interactions.at_us[-1]) + 1)
    return Judged(interactions, users, as_of_us, labels)


def test_diversity_starts_from_the_served_lists_and_grows_with_strength() -> None:
    recommender, users = trained()[1].recommender(), judged()
    found = judge_diversity(recommender, users, seed=0, strengths=(0.0, 0.5, 1.0))
    assert [entry.strength for entry in found] == [0.0, 0.5, 1.0]
    assert found[0].ndcg_change.mean == 0
    distance = [entry.metrics["distance@10"].mean for entry in found]
    assert distance[0] < distance[1] < distance[2]
    entropy = [entry.metrics["entropy@10"].mean for entry in found]
    assert entropy[0] < entropy[2]
    assert found[2].to_json()["strength"] == 1.0
    assert plot_diversity({"made up": found, "again": found}).startswith(PNG)


def test_served_lists_of_a_strength_are_those_that_are_judged() -> None:
    recommender, users = trained()[1].recommender(), judged()
    profiles = users.history.profiles(users.users, 500)
    statistics = trained()[1].state.at(trained()[1].closed_at_us)
    as_of_us = trained()[1].closed_at_us + 1
    plain = recommender.recommend(profiles, statistics, as_of_us, Options(k=20))
    diverse = recommender.recommend(profiles, statistics, as_of_us, Options(k=20, diversity=0.8))
    np.testing.assert_array_equal(plain.items[:, 0], diverse.items[:, 0])
    assert (plain.items != diverse.items).any()
    before, after = (variety(found.items, recommender.likeness)["distance@10"].mean() for found in (plain, diverse))
    assert after > before


def held_out() -> tuple[Training, HeldOut]:
    interactions = make_interactions(n_users=200, per_user=24)
    kept, out = hold_out_users(interactions, 0.3, seed=0)
    history = kept.on_backtest_clock()
    assert len(kept.items) == len(make_categories().count)
    training = Training(history, make_categories(), make_facts(), int(history.at_us[-1]) + 1)
    assert not set(np.unique(out.user).tolist()) & set(np.unique(kept.user).tolist())
    assert len(np.unique(out.user)) == 60
    return training, held_out_tastes(out, 0, 50)


def test_held_out_users_answer_with_one_half_and_are_judged_on_the_other() -> None:
    users = held_out()[1]
    assert len(users) == 50
    for answers, labels in zip(users.answers, users.labels, strict=True):
        assert len(answers) + len(labels) >= LEAST_LIKED
        assert abs(len(answers) - len(labels)) <= 1
        assert not set(answers.tolist()) & set(labels.tolist())


def test_likes_of_shown_items_make_better_first_lists_than_none() -> None:
    training, users = held_out()
    parts = fit_retrieval(training, SMALL)
    found = judge_onboarding(parts, users, k=4 * N_GROUPS, seed=0)
    assert list(found.methods) == [OURS, POPULAR, RANDOM, NOTHING]
    assert found.methods[NOTHING]["finds_1"].mean == 0
    assert found.methods[OURS]["finds_1"].mean > 0.5
    assert found.methods[OURS]["ndcg@10"].mean > found.methods[NOTHING]["ndcg@10"].mean
    assert found.gains[NOTHING].low > 0
    assert found == judge_onboarding(parts, users, k=4 * N_GROUPS, seed=0)
    assert found.to_json()["users"] == found.users
    assert plot_onboarding({"made up": found}).startswith(PNG)
