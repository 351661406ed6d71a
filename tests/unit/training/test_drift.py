"""Bins, the population stability index, and when a shift counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import entropy

from training.bundle.reference import BINS, column_of, shares_of
from training.skew.drift import SCORES, Drift, Shift, psi
from training.skew.rules import DriftRules

SHARES = arrays.arrays(np.float64, 6, elements=st.floats(0.01, 1)).map(lambda parts: parts / parts.sum())


def shift(value: float, importance: float = 0.5, name: str = "a") -> Shift:
    return Shift(name, value, importance, (), (1.0, 0.0), (1.0, 0.0))


def test_the_index_by_hand() -> None:
    # (.2 - .1) ln(.2 / .1) + (.3 - .4) ln(.3 / .4) + 0
    assert psi([0.1, 0.4, 0.5], [0.2, 0.3, 0.5]) == pytest.approx(0.1 * np.log(2) + 0.1 * np.log(4 / 3))


@given(before=SHARES, now=SHARES)
def test_the_index_is_the_sum_of_both_relative_entropies(before: np.ndarray, now: np.ndarray) -> None:
    assert psi(before, now) == pytest.approx(entropy(before, now) + entropy(now, before))
    assert psi(before, now) == pytest.approx(psi(now, before))
    assert psi(before, before) == 0


def test_an_empty_bin_gives_a_finite_index() -> None:
    assert psi([0.5, 0.5], [1.0, 0.0]) == pytest.approx(0.5 * np.log(2) + 0.4999 * np.log(0.5 / 1e-4))


def test_tenths_of_many_values_hold_a_tenth_each() -> None:
    values = np.random.default_rng(0).standard_normal(20_000)
    column = column_of(values)
    assert len(column.edges) == BINS - 1
    np.testing.assert_allclose(column.shares, [0.1] * BINS + [0.0], atol=1e-3)


@pytest.mark.parametrize("common", [0.0, 1.0])
def test_a_rare_value_of_a_flag_has_a_bin_of_its_own(common: float) -> None:
    flag = np.full(1_000, common, np.float32)
    flag[:20] = 1 - common
    column = column_of(flag)
    rare = np.full(1_000, 1 - common, np.float32)
    assert column.edges == (0.0,)
    assert psi(column.shares, shares_of(rare, column.edges)) > 5


def test_a_heap_at_the_largest_value_is_told_from_what_lies_below() -> None:
    values = np.append(np.linspace(0, 1, 50), np.full(950, 1.0))
    column = column_of(values)
    assert column.shares[-2] == pytest.approx(0.951)
    assert psi(column.shares, shares_of(np.linspace(0, 1, 1_000), column.edges)) > 1


def test_what_is_unknown_is_a_bin_too() -> None:
    column = column_of(np.array([np.nan, np.nan, 1.0, 2.0], np.float32))
    assert column.shares[-1] == 0.5
    unknown = column_of(np.full(3, np.nan))
    assert (unknown.edges, unknown.shares) == ((), (0.0, 1.0))


@given(arrays.arrays(np.float32, st.integers(1, 200), elements=st.floats(-1e6, 1e6, width=32) | st.just(np.nan)))
def test_shares_of_the_values_themselves_are_the_reference(values: np.ndarray) -> None:
    column = column_of(values)
    assert sum(column.shares) == pytest.approx(1)
    assert psi(column.shares, shares_of(values, column.edges)) == 0
    assert list(column.edges) == sorted(set(column.edges))


def test_scores_alone_or_enough_of_the_gain_make_drift() -> None:
    rules = DriftRules()
    assert Drift(500, 1, (shift(0.3, 1.0, SCORES),)).drifted(rules)
    assert Drift(500, 1, (shift(0.3, 0.2), shift(0.3, 0.1))).drifted(rules)
    assert not Drift(500, 1, (shift(0.3, 0.2), shift(0.2, 0.5))).drifted(rules)
    assert not Drift(500, 1, (shift(9.0, 0.001),)).drifted(rules)
    assert not Drift(5, 1, (shift(9.0, 1.0, SCORES),), "few").drifted(rules)
