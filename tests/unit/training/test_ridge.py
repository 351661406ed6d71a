"""The map from texts to item factors, on data whose map is known."""

from dataclasses import replace

import numpy as np
import pytest

from training.bundle.content import Content, mapped, usual_of
from training.ridge import STRENGTHS, fit_map, held_out

_RNG = np.random.default_rng(0)
VECTORS = _RNG.standard_normal((400, 12)).astype(np.float32)
TRUE = _RNG.standard_normal((13, 6)).astype(np.float32)
FACTORS = (mapped(VECTORS, TRUE) + _RNG.normal(0, 0.1, (400, 6))).astype(np.float32)
COUNT = _RNG.integers(1, 50, 400)


def test_a_known_map_is_found_and_little_penalised() -> None:
    found = fit_map(VECTORS, FACTORS, COUNT, seed=0)
    assert found.explained > 0.98
    assert found.strength == min(STRENGTHS)
    np.testing.assert_allclose(mapped(VECTORS, found.mapping), FACTORS, atol=0.6)


def test_texts_that_say_nothing_are_penalised_down_to_the_mean() -> None:
    noise = np.random.default_rng(1).standard_normal((400, 6)).astype(np.float32) + 3
    found = fit_map(VECTORS, noise, COUNT, seed=0)
    assert found.explained < 0.02
    assert found.strength == max(STRENGTHS)
    assert np.abs(mapped(VECTORS, found.mapping) - 3).mean() < 0.2


def test_held_out_factors_do_not_know_the_items_own() -> None:
    before = held_out(VECTORS, FACTORS, COUNT, seed=0)
    changed = FACTORS.copy()
    changed[7] += 3
    after = held_out(VECTORS, changed, COUNT, seed=0)
    moved = np.abs(after - before).max(axis=1)
    assert moved[7] < 1e-6 < np.median(moved)
    assert np.corrcoef(before.ravel(), FACTORS.ravel())[0, 1] > 0.98


def test_items_without_history_or_text_teach_nothing() -> None:
    count, vectors = COUNT.copy(), VECTORS.copy()
    count[:50], vectors[50:100] = 0, 0
    wrong = FACTORS.copy()
    wrong[:100] = 1e6
    found = held_out(vectors, wrong, count, seed=0)
    assert np.abs(found).max() < 50
    assert np.corrcoef(found[:50].ravel(), FACTORS[:50].ravel())[0, 1] > 0.98


def test_what_texts_promise_is_told_beside_what_is_usual_whatever_factors_and_counts_grow_to() -> None:
    items, user = np.arange(20, dtype=np.int32), _RNG.standard_normal(5).astype(np.float32)
    content = Content("", VECTORS.astype(np.float16), TRUE, usual_of(mapped(VECTORS, TRUE)), 0)
    grown_map = 3 * TRUE
    grown_map[-1, -1] += 7  # all are liked more
    grown = replace(content, mapping=grown_map, usual=usual_of(mapped(VECTORS, grown_map)))
    for before, after in (
        (content.taste_for(user, items), grown.taste_for(2 * user, items)),
        (content.promise_of(items), grown.promise_of(items)),
    ):
        np.testing.assert_allclose(after, before, atol=0.01)
        assert 0.3 < before.std() < 3


@pytest.mark.parametrize("texts", [0, 1, 5])
def test_where_all_texts_promise_the_same_none_stands_out(texts: int) -> None:
    vectors = np.zeros((5, 12), np.float16)
    content = Content("", vectors, TRUE, usual_of(mapped(vectors[:texts], TRUE)), 0)
    items = np.arange(5 if texts else 0, dtype=np.int32)
    assert not content.taste_for(np.ones(5, np.float32), items).any()
    assert not content.promise_of(items).any()
