"""What people are told of weights: each action, how often it occurs, and why it weighs what it does."""

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from features.contracts.errors import ContractError
from training.cli.app import app
from training.cli.weights_run import said_of
from training.frames import load_interactions


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of 16 views, a purchase and a rating, by two users."""
    frame = pd.DataFrame(
        {
            "user_id": ["a", "b"] * 9,
            "item_id": [f"i{number}" for number in range(18)],
            "action": [*["view"] * 16, "purchase", "rating"],
            "value": [None] * 17 + [8.0],
            "occurred_at": range(18),
        }
    )
    frame.to_parquet(tmp_path / "f.parquet")
    return tmp_path / "f.parquet"


def rows_of(printed: str) -> dict[str, list[str]]:
    cells = [[cell.strip() for cell in line.split("\u2502")[1:-1]] for line in printed.splitlines()]
    return {row[0]: row[1:] for row in cells if len(row) == 6}


def test_the_table_says_what_is_found_and_what_a_file_says(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    said = tmp_path / "weights.yaml"
    said.write_text("actions: {skip: {rule: constant, base: -1}}\n")

    found = CliRunner().invoke(app, ["weights", "--interactions", str(file), "--weights", str(said)])

    assert found.exit_code == 0, found.output
    assert rows_of(found.output) == {
        "view": ["16", "2", "constant", "1", "default: a look"],
        "purchase": ["1", "1", "constant", "4", "default 1; 16 view to 1 purchase"],
        "rating": ["1", "1", "rating", "4", "default 1; 16 view to 1 rating"],
        "skip": ["0", "0", "constant", "-1", "by the file of weights"],
    }
    assert "ratings up to 10: liked from 6, disliked up to 4" in found.output


def test_a_backtest_says_them_in_a_line(file: Path) -> None:
    line = said_of(load_interactions(file))
    assert line == "weights: view 1, purchase 4, rating 4; ratings up to 10: liked from 6, disliked up to 4"


def test_names_of_actions_are_printed_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    names = ["view", "[/b]", "[promo] click", ":apple:"]
    frame = pd.DataFrame({"user_id": ["a"] * 4, "item_id": ["i"] * 4, "action": names, "occurred_at": range(4)})
    frame.to_parquet(tmp_path / "f.parquet")
    found = CliRunner().invoke(app, ["weights", "--interactions", str(tmp_path / "f.parquet")], catch_exceptions=False)
    assert set(rows_of(found.output)) == set(names)


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(ContractError, match="no-such"):
        CliRunner().invoke(
            app, ["weights", "--interactions", str(file), "--weights", "no-such.yaml"], catch_exceptions=False
        )
