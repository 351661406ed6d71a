"""What the demo takes: its own data, a MovieLens folder, or interactions as a backtest reads them."""

from pathlib import Path

import pandas as pd
import pytest

from features.contracts.errors import MarqueeError
from ops.demo import dataset


def test_the_demos_own_data_are_whole() -> None:
    found = dataset.load(None)
    assert (len(found.interactions), len(found.items)) == (100_000, 10_506)
    assert set(found.interactions.action) == {"rating"}
    assert set(found.interactions.item_id) <= set(found.items.item_id)


def test_a_movielens_folder(tmp_path: Path) -> None:
    ratings = "userId,movieId,rating,timestamp\n1,10,4.5,1000\n2,20,3.0,900\n"
    (tmp_path / "ratings.csv").write_text(ratings, encoding="utf-8")
    movies = 'movieId,title,genres\n10,"Ten, The (1999)",Comedy|Drama\n20,Twenty,(no genres listed)\n'
    (tmp_path / "movies.csv").write_text(movies, encoding="utf-8")
    found = dataset.load(tmp_path)
    assert found.interactions.user_id.tolist() == ["2", "1"], "in the order of time"
    assert found.interactions.value.tolist() == [3.0, 4.5]
    titled = found.items.set_index("item_id")
    assert titled.title.to_dict() == {"10": "Ten, The (1999)", "20": "Twenty"}
    assert titled.categories["10"] == ["Comedy", "Drama"]


def test_interactions_as_a_backtest_reads_them(tmp_path: Path) -> None:
    rows = {"user_id": [7], "item_id": ["x"], "occurred_at": pd.to_datetime(["2026-01-01"]), "action": ["purchase"]}
    pd.DataFrame(rows).to_parquet(tmp_path / "interactions.parquet")
    for path in (tmp_path, tmp_path / "interactions.parquet"):
        found = dataset.load(path)
        assert found.interactions[["user_id", "item_id", "action"]].to_numpy().tolist() == [["7", "x", "purchase"]]


def test_anything_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(MarqueeError, match=r"holds neither ratings.csv \(with movies.csv\) nor interactions.parquet"):
        dataset.load(tmp_path)
