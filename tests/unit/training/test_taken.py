"""A snapshot is known by the hashes of its files; what an erasure took is no change."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.synthetic import make_interactions
from training.bundle.manifest import file_digest
from training.steps.inputs import SNAPSHOT
from training.steps.state import RunFolder, StepRecord
from training.steps.taken import changed, rows_gone

EVENTS = make_interactions(n_users=5)
FILES = ("interactions.parquet", "items.parquet")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Return a run whose snapshot was taken of `EVENTS`."""
    run = RunFolder(tmp_path, "run")
    (run.path / SNAPSHOT).mkdir(parents=True)
    for name in FILES:
        (run.path / SNAPSHOT / name).write_text(f"{name} as it was taken")
    interactions, items = (file_digest(run.path / SNAPSHOT / name).sha256 for name in FILES)
    results = {"interactions": len(EVENTS), "sha256": interactions, "items_sha256": items}
    run.finish(StepRecord("snapshot", "done", "", "2026-01-01T00:00:00+00:00", 1.0, results))
    return run


def test_what_was_taken_is_known_by_its_hash(run: RunFolder) -> None:
    assert rows_gone(run, EVENTS) == 0
    assert changed(run, 0) == ""


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_changed_or_lost_since_is_named(run: RunFolder, name: str) -> None:
    (run.path / SNAPSHOT / name).write_text("with its labels shuffled")
    assert changed(run, 0) == f"other SHA-256 than when the snapshot was taken: {name}"
    (run.path / SNAPSHOT / name).unlink()
    assert changed(run, 0).endswith(name)


def test_files_in_folders_are_known_by_their_paths(run: RunFolder) -> None:
    record = run.finished("snapshot")
    part = run.path / SNAPSHOT / "interactions" / "part-00-of-01.parquet"
    part.parent.mkdir()
    part.write_text("rows")
    files = {"interactions/part-00-of-01.parquet": file_digest(part).sha256}
    run.finish(StepRecord("snapshot", "done", "", record.finished_at, 1.0, {"interactions": 0, "files": files}))
    assert changed(run, 0) == ""
    part.write_text("other rows")
    assert "part-00-of-01.parquet" in changed(run, 0)


def test_rows_that_an_erasure_took_are_no_change(run: RunFolder) -> None:
    left = EVENTS.take(np.flatnonzero(EVENTS.user != 0))
    (run.path / SNAPSHOT / FILES[0]).write_text("without one user")
    gone = rows_gone(run, left)
    assert gone == len(EVENTS) - len(left) > 0
    assert changed(run, gone) == ""
