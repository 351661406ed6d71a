"""Two backtests are compared user by user, or refused with the reason."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from features.contracts.errors import ContractError
from training.cli.app import app
from training.comparing import NotComparableError, compare_runs, read_run


def write_run(folder: Path, values: list[float], users: list[str], digest: str = "d") -> Path:
    folder.mkdir()
    frame = pd.DataFrame({"user_id": users, "method": "marquee", "ndcg@10": values})
    frame.sample(frac=1, random_state=1).to_parquet(folder / "values.parquet")
    (folder / "metrics.json").write_text(json.dumps({"labels_digest": digest}))
    return folder


USERS = [f"u{number}" for number in range(200)]
BASE = np.random.default_rng(0).random(200)


@pytest.mark.parametrize(
    ("shift", "verdict"), [(0.05, "better"), (-0.05, "worse"), (0.0, "not distinguishable")], ids=str
)
def test_the_interval_of_the_paired_difference_decides(tmp_path: Path, shift: float, verdict: str) -> None:
    noise = np.random.default_rng(1).normal(0, 0.02, 200)
    first = read_run(write_run(tmp_path / "a", BASE.tolist(), USERS))
    second = read_run(write_run(tmp_path / "b", (BASE + shift + noise - noise.mean()).tolist(), USERS[:]))
    (found,) = compare_runs(first, second)
    assert found.difference.mean == pytest.approx(shift)
    assert found.verdict == verdict
    assert found.second.high > found.difference.high, "users are paired: the difference varies less than either run"


def test_of_a_few_users_nothing_is_said_though_all_of_them_gain(tmp_path: Path) -> None:
    first, second = (
        read_run(write_run(tmp_path / name, [value] * 3, USERS[:3])) for name, value in (("a", 0.1), ("b", 0.9))
    )
    (found,) = compare_runs(first, second)
    assert found.difference.low > 0
    assert found.verdict == "too few users"


def test_other_users_or_labels_are_refused(tmp_path: Path) -> None:
    first = read_run(write_run(tmp_path / "a", BASE.tolist(), USERS))
    others = read_run(write_run(tmp_path / "b", BASE.tolist(), [*USERS[1:], "new"]))
    labels = read_run(write_run(tmp_path / "c", BASE.tolist(), USERS, digest="other"))
    with pytest.raises(NotComparableError, match="1 only in the first, 1 only in the second, 199 in both"):
        compare_runs(first, others)
    with pytest.raises(NotComparableError, match="same users but different labels"):
        compare_runs(first, labels)
    with pytest.raises(ContractError, match=r"holds no metrics\.json"):
        read_run(tmp_path)
    with pytest.raises(ContractError, match="no values of 'EASE'; there are"):
        read_run(tmp_path / "a", "EASE")


def test_ids_are_the_same_users_whether_a_file_holds_them_as_numbers_or_as_text(tmp_path: Path) -> None:
    numbers = [str(number) for number in range(200)]
    text = read_run(write_run(tmp_path / "text", BASE.tolist(), numbers))
    file = tmp_path / "text" / "values.parquet"
    frame = pd.read_parquet(file)
    frame.assign(user_id=frame["user_id"].astype(int)).to_parquet(file)
    (found,) = compare_runs(text, read_run(tmp_path / "text"))
    assert (found.difference.mean, found.verdict) == (0.0, "not distinguishable")


@pytest.mark.parametrize("content", ['{"labels_digest": "d', "[1]", '{"labels_digest": 1}'])
def test_half_a_file_is_named(tmp_path: Path, content: str) -> None:
    folder = write_run(tmp_path / "a", BASE.tolist(), USERS)
    (folder / "metrics.json").write_text(content)
    with pytest.raises(ContractError, match=r"metrics\.json: .*run that backtest again"):
        read_run(folder)


def test_values_without_a_column_are_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", BASE.tolist(), USERS)
    pd.DataFrame({"user_id": USERS}).to_parquet(folder / "values.parquet")
    with pytest.raises(ContractError, match=r"values\.parquet: .*method"):
        read_run(folder)


def test_a_run_that_measured_nothing_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(
        NotComparableError, match=r"a: Nobody has both a history .*: nothing was measured\. Cut earlier"
    ):
        read_run(write_run(tmp_path / "a", [], []))


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_a_place_that_cannot_be_written_is_named_before_all_else(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").touch()
    for place, why in (("file/x", "file: File exists; name a folder"), ("", "is a folder; name a file")):
        asked = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), option, str(tmp_path / place)]
        with pytest.raises(ContractError, match=f"{option} .*{why}"):
            CliRunner().invoke(app, asked, catch_exceptions=False)


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    first, second = (write_run(tmp_path / name, (BASE + gain).tolist(), USERS) for name, gain in (("a", 0), ("b", 0.1)))
    files = ["--json", str(tmp_path / "out" / "c.json"), "--html", str(tmp_path / "out" / "c.html")]
    run = CliRunner().invoke(app, ["compare", str(first), str(second), *files])
    assert run.exit_code == 0, run.output
    assert "better" in run.output
    same = CliRunner().invoke(app, ["compare", str(first), str(first)])
    assert "not distinguishable" in same.output
    content = json.loads((tmp_path / "out" / "c.json").read_text())
    assert content["metrics"]["ndcg@10"]["difference"]["mean"] == pytest.approx(0.1)
    assert "NDCG@10" in (tmp_path / "out" / "c.html").read_text()
