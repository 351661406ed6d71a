"""What steps read of a snapshot that an erasure has changed between two of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.synthetic import SMALL, make_interactions
from training.steps.inputs import Inputs


@pytest.fixture
def items_file(tmp_path: Path) -> Path:
    pd.DataFrame({"item_id": ["i1"], "categories": [["c"]]}).to_parquet(tmp_path / "items.parquet")
    return tmp_path / "items.parquet"


def test_a_step_keeps_the_items_that_the_one_before_it_chose(items_file: Path) -> None:
    whole = make_interactions()
    until_us = int(whole.at_us[-1]) + 1
    before = Inputs(whole, SMALL, items_file, None, items_file).training(until_us)
    only = int(whole.item[0])  # of which an erasure takes every row
    left = whole.take(np.flatnonzero(whole.item != only))

    after = Inputs(left, SMALL, items_file, None, items_file).training(until_us, items=before.interactions.items)

    everything = np.arange(len(before.interactions.items))
    assert after.interactions.items.external(everything) == before.interactions.items.external(everything)
    named = after.interactions.items.external(after.interactions.item)
    assert named == whole.items.external(left.item)
    assert whole.items.external(np.array([only]))[0] not in named
    assert len(after.facts.year) == len(everything)


def test_without_an_erasure_given_items_change_nothing(items_file: Path) -> None:
    inputs = Inputs(make_interactions(), SMALL, items_file, None, items_file)
    until_us = int(inputs.interactions.at_us[-1]) // 2 + int(inputs.interactions.at_us[0]) // 2
    alone = inputs.training(until_us).interactions
    given = inputs.training(until_us, items=alone.items).interactions
    for column in ("user", "item", "weight", "at_us"):
        assert np.array_equal(getattr(given, column), getattr(alone, column))
        assert getattr(given, column).dtype == getattr(alone, column).dtype
