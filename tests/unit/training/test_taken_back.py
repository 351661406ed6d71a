"""What a user takes back leaves no interest, the same in training and in serving."""

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.profiles import UserHistory
from features.contracts.weights import ActionWeights, taken_back
from tests.support.tiny_bundle import write_tiny_bundle
from training.als import confidence_matrix
from training.bundle.read import open_bundle
from training.frames import interactions_of

HISTORY = [
    ("i1", "favorite", 1.0),
    ("i2", "favorite", 1.0),
    ("i2", "watch", 1.0),
    ("i3", "view", None),
    ("i4", "favorite", -1.0),
    ("i1", "favorite", -1.0),
    ("i2", "favorite", -1.0),
    ("i1", "watch", 0.25),
]
"""Oldest first: i1 was removed again and then watched a little, i2 removed and watched, i4 never added."""
SETTLED = {"i1": 0.5, "i2": 2.0, "i3": 1.0}


def test_training_sees_no_interest_where_it_was_taken_back() -> None:
    items, actions, values = zip(*HISTORY, strict=True)
    times = pd.date_range("2026-01-01", periods=len(HISTORY))
    frame = pd.DataFrame(
        {"user_id": "u", "item_id": items, "occurred_at": times, "action": actions, "value": np.array(values, float)}
    )
    interactions = interactions_of(frame, Path("history"), ActionWeights()).interactions
    matrix = confidence_matrix(interactions, 500)
    names = interactions.items.external(matrix.indices)
    assert dict(zip(names, matrix.data.tolist(), strict=True)) == SETTLED

    early = interactions.take(np.arange(3))
    assert confidence_matrix(early, 500).data.tolist() == [2.0, 2.0], "before the removal the interest stands"


def test_serving_sees_no_interest_where_it_was_taken_back(tmp_path: Path) -> None:
    bundle = open_bundle(tmp_path, write_tiny_bundle(tmp_path))
    items, actions, values = zip(*HISTORY[::-1], strict=True)
    numbers = [np.nan if value is None else value for value in values]
    event_ids = [str(number) for number in range(len(items))]
    history = UserHistory("u", event_ids, items, actions, numbers, range(len(items), 0, -1), items)
    profiles = bundle.encode([history])
    liked = profiles.weight > 0
    best: dict[str, float] = {}
    for name, weight in zip(bundle.items.external(profiles.item[liked]), profiles.weight[liked].tolist(), strict=True):
        best[name] = max(best.get(name, 0.0), weight)
    assert best == SETTLED


histories = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0])), max_size=30)


@given(histories)
def test_taking_back_conserves_the_sum_and_each_removal_takes_one_earlier_like(events: list[tuple[int, float]]) -> None:
    item = np.array([item for item, _ in events], dtype=np.int32)
    weight = np.array([weight for _, weight in events], dtype=np.float32)
    settled = taken_back(item, weight)
    assert settled.sum() == weight.sum()
    changed = settled != weight
    assert not settled[changed].any()
    assert (weight[changed] > 0).sum() == (weight[changed] < 0).sum()
    np.testing.assert_array_equal(taken_back(item, settled), settled)
