"""When another training is due: what counts as the last one."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.contracts.times import EPOCH
from training.due import NOTE, call, last_training
from training.steps.options import RunOptions
from training.steps.state import RunError, RunFolder, StepRecord

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def snapshot(work: Path, run: str, hour: int) -> None:
    at = NOON.replace(hour=hour).isoformat(timespec="seconds")
    folder = RunFolder(work, run)
    folder.path.mkdir(parents=True)
    folder.finish(StepRecord("snapshot", "done", "", at, 1.0))


def test_no_training_was_ever(tmp_path: Path) -> None:
    assert last_training(tmp_path / "missing") == EPOCH


def test_a_run_counts_from_its_snapshot_on_whatever_becomes_of_it(tmp_path: Path) -> None:
    snapshot(tmp_path, "one", 3)
    snapshot(tmp_path, "two", 15)
    (tmp_path / "begun").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "snapshot.json").write_text("{", encoding="utf-8")
    assert last_training(tmp_path) == NOON.replace(hour=15)


def test_what_was_called_for_is_not_called_for_again(tmp_path: Path) -> None:
    snapshot(tmp_path, "one", 3)
    call(tmp_path, NOON)
    assert last_training(tmp_path) == NOON
    (tmp_path / NOTE).write_text("torn", encoding="utf-8")
    assert last_training(tmp_path) == NOON.replace(hour=3)


def test_a_range_of_data_is_a_window_or_two_instants() -> None:
    until = NOON.replace(day=20)
    assert RunOptions().known_range(NOON) == (None, None)
    assert RunOptions(window_days=1).known_range(NOON.replace(day=2)) == (NOON, None)
    assert RunOptions(window_days=19, until=until).known_range(NOON) == (NOON, until)
    assert RunOptions(since=NOON, until=until).known_range(until) == (NOON, until)
    with pytest.raises(RunError, match="nothing"):
        RunOptions(since=until, until=NOON).known_range(NOON)
    with pytest.raises(RunError, match="window_days and since"):
        RunOptions(since=NOON, window_days=1).known_range(until)
    with pytest.raises(RunError, match="before the year 1"):
        RunOptions(window_days=3650, until=NOON.replace(year=2)).known_range(NOON)
