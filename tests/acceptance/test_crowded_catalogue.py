"""A catalogue most of which nobody wants: lists are as good with its new items as without them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.acceptance.test_quality import ndcg_at_10, split
from tests.support.processes import uncounted

PARTS = 10
WORST = 0.8
"""Of NDCG@10 without new items; a quarter to half of it where these stood as if somebody were to meet each of them."""

pytestmark = pytest.mark.timeout(900)


def test_items_that_nobody_wants_do_not_fill_lists(shared_data: Path, tmp_path: Path) -> None:
    """A tenth of the users has met a fifth of the films: of the others one in thirty is met by them later."""
    folder = shared_data / "movietweetings-100k"
    ratings = pd.read_parquet(folder / "ratings.parquet").query("rating >= 7")
    users = np.sort(ratings.user_id.unique())
    mine = users[np.random.default_rng(7).permutation(len(users)) % PARTS == 0]
    some = ratings[ratings.user_id.isin(mine)]
    at = pd.to_datetime(some.timestamp, unit="s")
    rows = pd.DataFrame(
        {
            "user_id": some.user_id.astype(str),
            "item_id": some.item_id.astype(str),
            "occurred_at": at,
            "value": some.rating,
        }
    )
    rows.to_parquet(tmp_path / "rows.parquet")
    items = pd.read_parquet(folder / "items.parquet").rename(columns={"genres": "categories"})
    items.to_parquet(tmp_path / "items.parquet")
    cutoff = pd.Timestamp(float(some.timestamp.quantile(0.8)), unit="s").isoformat()
    found = []
    for name, more in (("without", ()), ("with", ("--new-items",))):
        files = ["--interactions", tmp_path / "rows.parquet", "--items", tmp_path / "items.parquet"]
        command = [*files, "--cutoff", cutoff, "--k", "10", "--out", tmp_path / name, *more]
        subprocess.run(
            [sys.executable, "-m", "training", "backtest", *map(str, command)], env=uncounted(), check=True, timeout=800
        )
        lists = pd.read_parquet(tmp_path / name / "recommendations.parquet")
        known, later = split(rows, "--cutoff", cutoff)
        found.append(ndcg_at_10(lists, known, later, {*later.item_id}))  # those that nobody had met before, too
    without, with_new = found
    assert without > 0.08
    assert with_new > WORST * without
