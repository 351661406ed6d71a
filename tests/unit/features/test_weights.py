"""How much actions weigh: by the file, by the data's shape, and what a low rating does."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.errors import ContractError
from features.contracts.found_weights import LARGEST_FACTOR, DataShape, is_enough, weights_for, why
from features.contracts.weights import DEFAULT_ACTIONS, ActionWeights, taken_back
from features.contracts.weights_file import SaidWeights, load_weights


@pytest.mark.parametrize("action", ["view", "purchase", "rating", "watch"])
def test_a_single_action_weighs_its_default(action: str) -> None:
    assert weights_for(DataShape({action: 1000})).actions == DEFAULT_ACTIONS


counts = st.dictionaries(st.sampled_from(sorted(DEFAULT_ACTIONS)), st.integers(1, 10**7), min_size=1)


@given(counts)
def test_rarer_actions_never_weigh_less_and_looks_stay(events: dict[str, int]) -> None:
    found = weights_for(DataShape(events)).actions
    shape = DataShape(events)
    told = [name for name in events if DEFAULT_ACTIONS[name].strong and is_enough(name, shape)]
    strong = sorted(told, key=lambda name: events[name])
    factors = [found[name].base / DEFAULT_ACTIONS[name].base for name in strong]
    assert factors == sorted(factors, reverse=True)
    assert all(1 <= factor <= LARGEST_FACTOR for factor in factors)
    assert found["view"] == DEFAULT_ACTIONS["view"]


def test_a_few_events_of_another_action_move_nothing() -> None:
    before = weights_for(DataShape({"rating": 100_000}))
    few = DataShape({"rating": 100_000, "like": 12})
    assert weights_for(few, before=before) == before
    assert weights_for(DataShape({"rating": 100_000, "like": 100}), before=before) != before


def test_weights_stay_while_the_ratio_wavers_about_a_bound() -> None:
    below, above = DataShape({"view": 790, "cart": 100}), DataShape({"view": 810, "cart": 100})
    first = weights_for(below)
    assert first != weights_for(above)
    assert weights_for(above, before=first) == first
    assert weights_for(DataShape({"view": 3200, "cart": 100}), before=first) != first


def test_a_low_rating_is_a_dislike_and_leaves_a_look_alone() -> None:
    weights = ActionWeights()
    rated = weights.weigh(["rating"] * 5, [1.0, 2.0, 2.5, 3.0, np.nan])
    np.testing.assert_allclose(rated, [-0.4, -0.3, 0.0, 0.6, 0.0])
    history = weights.weigh(["rating", "view", "rating"], [1.0, np.nan, 5.0])
    np.testing.assert_array_equal(taken_back(np.array([7, 7, 7]), history), history)


def test_what_is_beyond_the_scale_stands_at_its_end() -> None:
    weights = ActionWeights()
    assert weights.weigh(["rating"] * 3, [1e308, -1e308, 5.0]).tolist() == pytest.approx([1.0, -1.0, 1.0])
    assert weights.ratings(["rating", "view"], [1e308, np.nan])[0] == 1.0


def test_weights_of_a_time_before_dislikes_have_none() -> None:
    stored = ActionWeights().to_json()
    del stored["rating_dislike"]
    assert ActionWeights.from_json(stored).weigh(["rating"], [1.0]) == [0.0]
    assert ActionWeights.from_json(ActionWeights().to_json()) == ActionWeights()


def test_a_file_goes_before_what_is_found(tmp_path: Path) -> None:
    file = tmp_path / "weights.yaml"
    file.write_text(
        "actions: {purchase: {rule: constant, base: 3}, skip: {rule: constant, base: -1}}\nrating_scale: 7\n"
    )
    said = load_weights(file)
    shape = DataShape({"view": 100_000, "purchase": 10, "cart": 100_000}, largest_rating=10)
    found = weights_for(shape, said)
    assert (found.actions["purchase"].base, found.actions["skip"].base, found.rating_scale) == (3.0, -1.0, 7.0)
    assert why("purchase", shape, found, said) == "by the file of weights"
    assert why("teleport", shape, found, said).startswith("unknown")
    assert weights_for(shape, SaidWeights(rare_weighs_more=False)).actions == DEFAULT_ACTIONS


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("actions: {buy: {rule: linear, base: 1}}", "linear"),
        ("actions: {buy: {rule: constant, base: 1e9}}", r"\$\.actions"),
        ("rating_dislike: 0.7", "rating_threshold"),
        ("ratingscale: 5", "ratingscale"),
        ("actions: [", "YAML"),
    ],
)
def test_a_wrong_file_is_named_with_the_field(tmp_path: Path, content: str, named: str) -> None:
    file = tmp_path / "weights.yaml"
    file.write_text(content)
    with pytest.raises(ContractError, match=named) as caught:
        load_weights(file)
    assert str(file) in str(caught.value)
