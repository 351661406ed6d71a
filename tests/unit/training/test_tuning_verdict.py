import numpy as np

from training.tuning.verdict import compare


def test_a_gain_that_chance_explains_is_not_taken() -> None:
    default = np.random.default_rng(0).random(200)
    tuned = default + np.random.default_rng(1).normal(0.0, 0.2, 200)
    assert not compare(default, tuned - (tuned - default).mean(), seed=0).taken


def test_a_clear_gain_is_taken_and_its_reason_tells_both_means() -> None:
    default = np.random.default_rng(0).random(200)
    verdict = compare(default, default + np.random.default_rng(1).normal(0.1, 0.2, 200), seed=0)
    assert verdict.taken
    assert f"{verdict.tuned:.4f} against {verdict.default:.4f}" in verdict.reason


def test_few_users_prove_nothing() -> None:
    assert not compare(np.zeros(20), np.ones(20), seed=0).taken
    assert not compare(np.zeros(0), np.zeros(0), seed=0).taken
