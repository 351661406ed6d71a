"""Files of logged lists: what is refused when they enter, and what their times have to agree with."""

from pathlib import Path

import pandas as pd
import pytest

from features.contracts.errors import ContractError
from training.backtest import Cut
from training.impressions import list_cut, load_impressions


def written(tmp_path: Path, **changes: object) -> Path:
    columns: dict[str, object] = {
        "list_id": ["l", "l", "m"],
        "user_id": ["a", "a", "b"],
        "occurred_at": [1, 1, 2],
        "item_id": ["x", "y", "x"],
        "position": [2, 1, 1],
        "clicked": [True, False, None],
    }
    path = tmp_path / "lists.parquet"
    pd.DataFrame(columns | changes).to_parquet(path)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position": ["1", "2", "10"]}, r"column position holds '1' in row 0; expected numbers: pd\.to_numeric"),
        ({"position": [1, 2, None]}, "column position is empty in 1 rows, first in row 2; drop them"),
        ({"clicked": ["true", "false", None]}, r"column clicked holds 'true' in row 0; .*isin\(\['true', 'yes'\]\)"),
        ({"clicked": [1, 3, 0]}, "column clicked holds 3 in row 1; expected true or false"),
        ({"item_id": ["x", "x", "x"]}, "list 'l' shows item 'x' twice, again in row 1"),
        ({"list_id": [7, 7, 7], "item_id": [1, 2, 1]}, "list 7 shows item 1 twice, again in row 2"),
        ({"item_id": ["x", "", "x"]}, "column item_id holds an id of 0 characters in row 1"),
        ({"occurred_at": ["now", "now", "now"]}, "column occurred_at is str; expected timestamps"),
        ({name: [] for name in ("list_id", "user_id", "occurred_at", "item_id", "position", "clicked")}, "no rows"),
    ],
)
def test_a_broken_file_of_lists_is_refused_by_row(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(ContractError, match=message) as refused:
        load_impressions(path)
    assert str(path) in str(refused.value)


def test_a_cutoff_after_all_lists_is_told_as_the_file_tells_times(tmp_path: Path) -> None:
    cut = Cut(cutoff=1_893_456_000_000_000)
    with pytest.raises(ContractError, match="after the cutoff 1893456000000000, the latest is at 2; choose"):
        list_cut(load_impressions(written(tmp_path)), cut)
    timed = written(tmp_path, occurred_at=pd.to_datetime([1, 1, 2], unit="D"))
    told = "after the cutoff 2030-01-01T00:00:00Z, the latest is at 1970-01-03T00:00:00Z; choose"
    with pytest.raises(ContractError, match=told):
        list_cut(load_impressions(timed), cut)


@pytest.mark.parametrize("clicked", [[True, False, None], [1, 0, 0], [1.0, 0.0, None]])
def test_lists_come_in_the_order_shown_with_their_clicks(tmp_path: Path, clicked: list[object]) -> None:
    frame = load_impressions(written(tmp_path, clicked=clicked)).frame
    assert frame.item_id.tolist() == ["y", "x", "x"]
    assert frame.clicked.tolist() == [False, True, False]
