"""How often the gate errs, by simulation: values as NDCG falls out, of two models on the same users."""

from collections import Counter
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest

from tests.support.gate_evidence import skewed
from training.gating.power import Margin, users_needed
from training.gating.verdicts import WORDS, Comparison, Sampling, compare, compare_many
from training.metrics import Floats
from training.resampling import resampled_means

MARGIN = Margin(0.05)
SAMPLING = Sampling(seed=0, resamples=1000)
RUNS = 300
POPULATION = 60_000

Lost = Callable[[Floats], Floats]


@lru_cache
def needed(alike: float) -> int:
    """Return the users that the gate asks for, as a very large window would say."""
    ours, theirs = skewed(np.random.default_rng(1), POPULATION, alike=alike)
    return int(users_needed(ours, theirs, MARGIN, SAMPLING.power)[0])


def shares(found: list[Comparison]) -> dict[str, float]:
    counts = Counter(one.word for one in found)
    return {word: counts[word] / len(found) for word in WORDS}


def equal(alike: float, users: int) -> tuple[Floats, Floats]:
    return skewed(np.random.default_rng(2), users, RUNS, alike=alike)


def loses_nothing(values: Floats) -> Floats:
    return values


def loses_of_all_alike(values: Floats) -> Floats:
    return values * (1 - MARGIN.size)


def loses_whole_lists(values: Floats) -> Floats:
    """Return the values after one of twenty users with a hit has lost it: the hardest loss to see."""
    return np.where(np.random.default_rng(3).random(values.shape) < MARGIN.size, 0.0, values)


@pytest.mark.parametrize("alike", [0.97, 0.99])
def test_an_equal_model_is_seldom_better_and_mostly_not_worse(alike: float) -> None:
    found = shares(compare_many(*equal(alike, round(1.3 * needed(alike))), [MARGIN], SAMPLING))
    assert found["better"] <= 0.05
    assert found["worse"] <= 0.05
    assert found["better"] + found["not worse"] >= 0.8


@pytest.mark.parametrize("users", [150, 600])
def test_an_equal_model_is_seldom_better_however_few_the_users(users: int) -> None:
    assert shares(compare_many(*equal(0.8, users), [MARGIN], SAMPLING))["better"] <= 0.05


@pytest.mark.parametrize("alike", [0.97, 0.99])
@pytest.mark.parametrize("lost", [loses_of_all_alike, loses_whole_lists])
def test_a_loss_of_the_margin_seldom_passes_with_as_many_users_as_are_needed(lost: Lost, alike: float) -> None:
    ours, theirs = equal(alike, needed(alike))
    found = shares(compare_many(lost(ours), theirs, [MARGIN], SAMPLING))
    assert found["not worse"] + found["better"] <= 0.1
    assert found["worse"] >= 0.3


@pytest.mark.parametrize("lost", [loses_nothing, loses_of_all_alike])
def test_with_half_of_the_users_needed_nothing_is_called_not_worse(lost: Lost) -> None:
    ours, theirs = equal(0.97, needed(0.97) // 2)
    found = shares(compare_many(lost(ours), theirs, [MARGIN], SAMPLING))
    assert found["not worse"] <= 0.01
    assert found["too few users"] >= 0.4


@pytest.mark.parametrize("users", [100, 200, 300, 370, 450])
def test_a_loss_that_nobody_happened_to_show_seldom_passes(users: int) -> None:
    # The same lists for all but one of twenty users with a hit: with few users nobody may be among those.
    theirs = skewed(np.random.default_rng(4), users, RUNS)[1]
    found = shares(compare_many(loses_whole_lists(theirs), theirs, [MARGIN], SAMPLING))
    assert found["not worse"] + found["better"] <= 0.1


def test_the_count_of_users_is_that_of_the_textbook_for_symmetric_differences() -> None:
    ours, theirs = skewed(np.random.default_rng(5), POPULATION, alike=0.9)
    spread, margin = (ours - theirs).std(), MARGIN.size * theirs.mean()
    assert users_needed(ours, theirs, MARGIN, 0.8)[0] == pytest.approx(
        ((1.645 + 0.842) * spread / margin) ** 2, rel=0.1
    )


def test_the_same_model_needs_ninety_five_users_with_a_hit() -> None:
    values = np.tile([0.0, 0.0, 0.0, 0.5], 100)[:, None]
    assert users_needed(values, values, MARGIN, 0.8) == np.ceil(4.74 / 0.05 * 4)
    assert users_needed(0 * values, values, MARGIN, 0.8) == np.inf


def test_the_count_printed_of_what_is_open_is_larger_than_that_of_the_users() -> None:
    ours, theirs = equal(0.97, needed(0.97))
    found = compare_many(ours * 0.98, theirs, [MARGIN], SAMPLING)
    still_open = [one for one in found if one.word == "too few users"]
    assert still_open
    assert all(one.needed > one.users for one in still_open)


def test_many_columns_are_judged_as_one_by_one() -> None:
    ours, theirs = (values[:, :3] for values in equal(0.9, 500))
    together = compare_many(ours, theirs, [MARGIN, Margin(0.01, relative=False)], SAMPLING)
    alone = [compare(ours[:, i], theirs[:, i], [MARGIN, Margin(0.01, relative=False)], SAMPLING) for i in range(3)]
    assert [one.word for one in together] == [one.word for one in alone]
    assert [one.difference.low for one in together] == pytest.approx([one.difference.low for one in alone])


def test_resamples_are_those_of_users_and_of_the_seed_alone() -> None:
    values = np.random.default_rng(6).random((50, 2))
    means = resampled_means(values, 7, 300)
    assert means.shape == (300, 2)
    assert resampled_means(values[:, :1], 7, 300)[:, 0] == pytest.approx(means[:, 0])
    assert means.std(axis=0) == pytest.approx(values.std(axis=0) / np.sqrt(50), rel=0.2)
