"""A catalogue most of which nobody wants: lists are as good with its new items as without them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.acceptance.test_quality import split
from tests.support.processes import uncounted

PARTS = 10
WORST = 0.8
"""Of NDCG@10 without new items; a quarter to half of it where these stood as if somebody were to meet each of them."""

pytestmark = pytest.mark.timeout(900)


def ndcg_of_all(lists: pd.DataFrame, known: pd.DataFrame, later: pd.DataFrame) -> float:
    """Return NDCG@10 on all that users with a history liked later and had not had, new items among it."""
    had = known.groupby("user_id").item_id.agg(set).to_dict()
    top = lists[lists["rank"] <= 10].sort_values("rank").groupby("user_id").item_id.agg(list).to_dict()
    values = []
    for user, liked in later.groupby("user_id").item_id.agg(set).items():
        wanted = liked - had.get(user, liked)
        if wanted:
            gain = sum(1 / np.log2(rank + 1) for rank, item in enumerate(top[user], start=1) if item in wanted)
            values.append(gain / sum(1 / np.log2(rank + 1) for rank in range(1, min(10, len(wanted)) + 1)))
    return float(np.mean(values))


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
        found.append(ndcg_of_all(lists, *split(rows, "--cutoff", cutoff)))
    without, with_new = found
    assert without > 0.08
    assert with_new > WORST * without
