"""The compiled walk gives LightGBM's raw scores, bit for bit, whatever is missing."""

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts.errors import ContractError
from training.bundle.trees import raw_scores, read_trees

N_FEATURES = 6


def table(seed: int, n_rows: int, missing: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_rows, N_FEATURES)).round(rng.integers(1, 4)).astype(np.float32)
    rows[rng.random(rows.shape) < missing] = np.nan
    rows[:, 0] = 0  # a feature that tells nothing
    return rows


def model(seed: int, missing: float, objective: str, **parameters: object) -> lgb.Booster:
    rows = table(seed, 400, missing)
    wanted = (np.nan_to_num(rows[:, 1]) + np.nan_to_num(rows[:, 2], nan=1.0) > 0.5).astype(int)
    settings_ = {"objective": objective, "verbose": -1, "num_threads": 1, "seed": seed, "min_data_in_leaf": 5}
    data = lgb.Dataset(rows, wanted, group=[40] * 10 if objective == "lambdarank" else None)
    return lgb.train(settings_ | parameters, data, 25)


@given(
    seed=st.integers(0, 1_000),
    learned=st.sampled_from([0.0, 0.3, 1.0]),
    asked=st.sampled_from([0.0, 0.3, 1.0]),
    n_rows=st.integers(0, 23),
    objective=st.sampled_from(["lambdarank", "binary"]),
)
@settings(max_examples=60, deadline=None)
def test_raw_scores_are_those_of_predict(seed: int, learned: float, asked: float, n_rows: int, objective: str) -> None:
    booster = model(seed, learned, objective)
    rows, trees = table(seed + 1, n_rows, asked), read_trees(booster)
    for count in (7, 25):
        expected = booster.predict(rows, raw_score=True, num_iteration=count) if n_rows else np.empty(0)
        np.testing.assert_array_equal(raw_scores(rows, trees, min(count, len(trees.roots))), expected)


def test_a_model_without_a_split_says_the_same_of_all() -> None:
    booster = model(0, 1.0, "lambdarank")
    rows = table(1, 10, 0.0)
    trees = read_trees(booster)
    np.testing.assert_array_equal(raw_scores(rows, trees, len(trees.roots)), booster.predict(rows, raw_score=True))


def test_splits_that_the_walk_does_not_know_are_refused() -> None:
    rng = np.random.default_rng(0)
    rows = np.column_stack((rng.integers(8, size=400), rng.normal(size=400)))
    wanted = (rows[:, 0] % 2).astype(int)
    parameters = {"objective": "binary", "verbose": -1, "min_data_per_group": 1, "num_threads": 1}
    by_category = lgb.train(parameters, lgb.Dataset(rows, wanted, categorical_feature=[0]), 3)
    with pytest.raises(ContractError, match="splits feature 0 by '=='"):
        read_trees(by_category)
    with pytest.raises(ContractError, match="missing is 'Zero'"):
        read_trees(model(0, 0.0, "binary", zero_as_missing=True))
