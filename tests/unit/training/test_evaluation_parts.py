"""Metrics of segments, sources, scores and popularity, against brute force on small arrays."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from features.contracts.ids import IdMap
from tests.support.synthetic import trained
from training.bundle.plan import BLEND, RANKER
from training.bundle.result import Trace
from training.bundle.sources import SOURCES, Offer
from training.data import Interactions
from training.evaluate import evaluate
from training.evaluation.judged import Judged
from training.evaluation.methods import K, baseline_lists
from training.evaluation.popularity import ItemPopularity, average_popularity, gini, novelty
from training.evaluation.reliability import reliability
from training.evaluation.resampling import bootstrap_columns, estimate_all
from training.evaluation.sampled import CandidateSample
from training.evaluation.segments import by_history_length, head_and_tail, light_and_heavy
from training.evaluation.source_recall import BUDGETS, recall_alone, recall_by_budget
from training.metrics import bootstrap_mean


@pytest.fixture
def rng() -> np.random.Generator:
    """Return numbers that no other test draws from, so that the order of tests changes nothing."""
    return np.random.default_rng(3)


def history(pairs: list[tuple[int, int]], n_users: int, n_items: int) -> Interactions:
    user, item = np.array(pairs, np.int32).T
    times = np.arange(len(pairs), dtype=np.int64)
    return Interactions(
        users=IdMap([f"u{n}" for n in range(n_users)]),
        items=IdMap([f"i{n}" for n in range(n_items)]),
        user=user,
        item=item,
        weight=np.ones(len(pairs), np.float32),
        at_us=times,
        known_us=times,
    )


def test_columns_have_the_intervals_of_each_alone(rng: np.random.Generator) -> None:
    values = rng.random(50)
    alone, found = bootstrap_mean(values, seed=4), estimate_all({"a": values, "b": -values}, seed=4)
    assert (found["a"].mean, found["a"].low, found["a"].high) == pytest.approx((alone.mean, alone.low, alone.high))
    assert found["b"].low == pytest.approx(-alone.high)


def test_users_that_a_column_does_not_know_do_not_count() -> None:
    values = np.array([[1.0], [3.0], [np.nan]])
    mean, drawn = bootstrap_columns(values, seed=0, resamples=200)
    assert mean.tolist() == [2.0]
    assert np.nanmin(drawn) == 1.0
    assert np.nanmax(drawn) == 3.0
    assert np.isnan(estimate_all({"none": np.full(3, np.nan)}, seed=0)["none"].mean)
    assert np.isnan(estimate_all({"nobody": np.empty(0)}, seed=0)["nobody"].mean)


def test_popularity_is_compared_with_as_all_that_was_known_has_it_whatever_a_users_moment() -> None:
    interactions, parts = trained()
    interactions = replace(interactions, repeat=np.arange(len(interactions)) % 3 == 0)
    users = np.arange(12, dtype=np.int32)
    at_us = int(interactions.at_us[-1]) + 1 + np.arange(len(users))
    judged = Judged(interactions, users, at_us, [np.array([3], np.int32) for _ in users])
    lists = evaluate(parts.recommender(), judged, seed=0).lists["popularity"]
    likes = Counter(interactions.item[(interactions.weight > 0) & ~interactions.repeat].tolist())
    for user in users.tolist():
        had = set(interactions.item[interactions.user == user].tolist())
        free = [item for item in range(len(interactions.items)) if item not in had]
        assert lists[user].tolist() == sorted(free, key=lambda item: -likes[item])[:K]


def test_popularity_counts_events_and_distinct_users() -> None:
    popularity = ItemPopularity.of(history([(0, 0), (0, 0), (1, 0), (1, 2), (2, 1)], 4, 4))
    assert popularity.interactions.tolist() == [3, 1, 1, 0]
    assert popularity.users.tolist() == [2, 1, 1, 0]
    assert popularity.n_users == 3
    assert popularity.head.tolist() == [True, False, False, False]
    lists = np.array([[0, 3, -1], [-1, -1, -1]], np.int32)
    assert novelty(lists, popularity)[0] == pytest.approx((-np.log2(2 / 3) - np.log2(1 / 3)) / 2)
    assert average_popularity(lists, popularity)[0] == pytest.approx((2 / 3 + 0) / 2)
    assert np.isnan(novelty(lists, popularity)[1])


def test_gini_is_half_the_mean_difference_over_the_mean(rng: np.random.Generator) -> None:
    lists = rng.integers(7, size=(40, 10)).astype(np.int32) ** 2 % 7
    counts = np.bincount(lists.ravel(), minlength=7).astype(float)
    brute = np.abs(counts[:, None] - counts).mean() / (2 * counts.mean())
    assert gini(lists, 7) == pytest.approx(brute)


def test_segments_by_length_of_history() -> None:
    length = np.array([1, 2, 4, 60, 70])
    values = {"marquee": np.array([0.0, 1.0, 0.5, 0.2, 0.4])}
    found = by_history_length(values, length, seed=0)
    assert [(part.name, part.users) for part in found] == [("1-2", 2), ("3-5", 1), ("51+", 2)]
    assert [part.methods["marquee"]["ndcg@10"].mean for part in found] == pytest.approx([0.5, 0.5, 0.3])
    light, heavy = light_and_heavy(values, length, seed=0)
    assert (light.users, heavy.users) == (3, 2)
    assert light.methods["marquee"]["ndcg@10"].mean == pytest.approx(0.5)


def test_labels_on_head_and_on_tail_items_count_apart() -> None:
    popularity = ItemPopularity.of(history([(0, 0), (1, 0), (2, 0), (0, 1), (1, 2)], 3, 4))
    lists = {"marquee": np.array([[0, 3, 1], [1, 0, 3]], np.int32)}
    labels = [np.array([0, 1], np.int32), np.array([0, -1], np.int32)]
    head, tail = head_and_tail(lists, labels, popularity, seed=0)
    assert (head.users, tail.users) == (2, 1)
    assert head.methods["marquee"]["ndcg@10"].mean == pytest.approx((1 + 1 / np.log2(3)) / 2)
    assert tail.methods["marquee"]["ndcg@10"].mean == pytest.approx(1 / np.log2(4))
    assert tail.methods["marquee"]["recall@20"].mean == 1.0


def test_recall_by_budget_counts_labels_in_each_head_of_a_list(rng: np.random.Generator) -> None:
    items = rng.permutation(300).astype(np.int32)
    labels = np.sort(rng.choice(300, 40, replace=False)).astype(np.int32)
    found = recall_by_budget([Offer(items, np.arange(300.0)), Offer(items[:0], np.empty(0))], labels, 300)
    assert found[0].tolist() == [len(set(items[:budget]) & set(labels)) / 40 for budget in BUDGETS]
    assert not found[1].any()


def test_recall_alone_counts_what_no_other_source_proposes(rng: np.random.Generator) -> None:
    ranks = rng.permuted(np.tile(np.arange(1.0, 21.0), (4, 1)), axis=1).T.astype(np.float32)
    ranks[rng.random(ranks.shape) < 0.3] = np.nan
    budgets, labels = np.array([5, 8, 0, 3]), np.arange(0, 20, 2, dtype=np.int32)
    expected = np.zeros(4)
    for item in labels.tolist():
        proposing = [source for source in range(4) if ranks[item, source] <= budgets[source]]
        if len(proposing) == 1:
            expected[proposing[0]] += 1 / len(labels)
    assert recall_alone(np.arange(20, dtype=np.int32), ranks, budgets, labels) == pytest.approx(expected)


def test_a_baselines_list_ends_in_what_is_popular_and_in_nobodys_taste() -> None:
    ranks = np.full((4, len(SOURCES)), np.nan, np.float32)
    ranks[:, SOURCES.index("ease")] = [1, 2, 3, 4]
    ranks[:2, SOURCES.index("als")] = [2, 1]
    candidates, nothing = np.array([3, 5, 7, 9], np.int32), np.zeros(4)
    trace = Trace(candidates, np.empty((0, 0), np.float32), ranks, nothing, nothing.astype(bool), "ranker")
    popular, own = np.arange(5, 25, dtype=np.int32), {"trend_1d": Offer(np.array([8, 1], np.int32), np.ones(2))}
    found = baseline_lists(("als", "ease", "trend_1d", "category", BLEND), trace, own, popular)
    assert {name: items[:6].tolist() for name, items in found.items()} == {
        "als": [5, 3, 6, 7, 8, 9],
        "ease": [3, 5, 7, 9, 6, 8],
        "trend_1d": [8, 1, 5, 6, 7, 9],
        "category": [5, 6, 7, 8, 9, 10],
        BLEND: [3, 5, 7, 9, 6, 8],
    }
    assert {len(set(items.tolist())) for items in found.values()} == {K}


def test_reliability_rises_where_scores_order(rng: np.random.Generator) -> None:
    scores = rng.random(2000)
    hit = rng.random(2000) < scores
    tenths = reliability(scores, hit, np.repeat(np.arange(20), 100), seed=0)
    rates = [tenth.hit_rate.mean for tenth in tenths]
    assert rates == sorted(rates)
    assert sum(tenth.candidates for tenth in tenths) == 2000
    top = scores > np.quantile(scores, 0.9)
    assert rates[-1] == pytest.approx(hit[top].mean())
    same = reliability(np.zeros(30), np.ones(30, dtype=bool), np.zeros(30, np.int64), seed=0)
    assert [(tenth.candidates, tenth.hit_rate.mean) for tenth in same] == [(30, 1.0)]


def test_scores_of_all_users_are_those_of_all_trees_and_of_items_that_somebody_met(rng: np.random.Generator) -> None:
    ranker = cast("Any", SimpleNamespace(scores=lambda rows: rows[:, 0].astype(np.float64)))
    sample = CandidateSample(20, seed=0, ranker=ranker)
    for user in range(20):
        rows = rng.random((30, 2)).astype(np.float32)
        unmet = np.arange(30) >= 25
        ordered_by = np.where(unmet, 1_000.0, rows[:, 0] - 50.0 * user)  # as a list's own trees and places have it
        trace = Trace(np.arange(30, dtype=np.int32), rows, np.empty((30, 0), np.float32), ordered_by, unmet, RANKER)
        sample.see(user, trace, np.flatnonzero(rows[:, 0] > 0.8).astype(np.int32))

    tenths = sample.reliability()

    assert sum(tenth.candidates for tenth in tenths) == 20 * 25
    assert all(0 <= tenth.score <= 1 for tenth in tenths)
    assert [tenth.hit_rate.mean for tenth in tenths[:7]] == [0.0] * 7
    assert tenths[-1].hit_rate.mean == 1.0
