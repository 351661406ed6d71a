"""The backtest on real data, judged by a script of its own: own split, own metric, from the written lists only."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.processes import uncounted

BAR = 0.130
"""NDCG@10; EASE alone reaches .110, and 95 % of resamples of the users lie above this."""

pytestmark = pytest.mark.timeout(1500)


def movielens(folder: Path) -> tuple[pd.DataFrame, tuple[str, str]]:
    ratings = pd.read_parquet(folder / "ml-latest-small" / "ratings.parquet")
    ratings = ratings[ratings.rating >= 3.5]
    frame = pd.DataFrame(
        {
            "user_id": ratings.user_id,
            "item_id": ratings.item_id,
            "occurred_at": pd.to_datetime(ratings.timestamp, unit="s"),
            "value": ratings.rating,
        }
    )
    return frame, ("--holdout", "0.2")


def split(frame: pd.DataFrame, how: str, where: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = frame.sort_values("occurred_at", kind="stable")
    if how == "--cutoff":
        return frame[frame.occurred_at < where], frame[frame.occurred_at >= where]
    place, size = frame.groupby("user_id").cumcount(), frame.groupby("user_id").item_id.transform("size")
    return frame[place < np.ceil((1 - float(where)) * size)], frame[place >= np.ceil((1 - float(where)) * size)]


def ndcg_at_10(lists: pd.DataFrame, known: pd.DataFrame, later: pd.DataFrame, items: set[object]) -> float:
    """Return the mean over users with history who later liked at least one of some items that they had not had."""
    had = known.groupby("user_id").item_id.agg(set).to_dict()
    top = lists[lists["rank"] <= 10].sort_values("rank").groupby("user_id").item_id.agg(list).to_dict()
    values = []
    for user, wanted in later.groupby("user_id").item_id.agg(set).items():
        if user not in had:
            continue
        relevant = (wanted & items) - had[user]
        if relevant:
            gain = sum(1 / np.log2(rank + 1) for rank, item in enumerate(top[user], start=1) if item in relevant)
            values.append(gain / sum(1 / np.log2(rank + 1) for rank in range(1, min(10, len(relevant)) + 1)))
    return float(np.mean(values))


def test_lists_reach_the_bar(shared_data: Path, tmp_path: Path) -> None:
    """Other data sets are measured by `python -m benchmarks quality`: each takes minutes."""
    frame, cut = movielens(shared_data)
    frame.to_parquet(tmp_path / "interactions.parquet")
    out = tmp_path / "out"
    files = ["--interactions", str(tmp_path / "interactions.parquet"), "--out", str(out)]
    command = [sys.executable, "-m", "training", "backtest", *files, *cut, "--k", "20"]
    subprocess.run(command, env=uncounted(), check=True, timeout=1400)
    lists = pd.read_parquet(out / "recommendations.parquet")
    known, later = split(frame, *cut)
    pairs = lists.merge(known[["user_id", "item_id"]].drop_duplicates(), on=["user_id", "item_id"])
    assert pairs.empty
    assert set(lists.item_id) <= set(known.item_id)
    assert set(lists.user_id) == set(later.user_id)
    assert lists.groupby("user_id").size().eq(20).all()
    assert ndcg_at_10(lists, known, later, set(known.item_id)) >= BAR
