"""What the step of the gate says of the run's own files, before any model is judged."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr

from features.settings import Settings
from tests.support.synthetic import make_interactions
from training.bundle.manifest import file_digest
from training.data import Interactions
from training.steps.gate import _changed, _gone
from training.steps.inputs import INTERACTIONS
from training.steps.options import RunOptions
from training.steps.runner import StepContext
from training.steps.state import RunFolder, StepRecord

EVENTS = make_interactions(n_users=5)


@pytest.fixture
def context(tmp_path: Path) -> StepContext:
    """Return a run whose snapshot was taken of `EVENTS`."""
    run = RunFolder(tmp_path, "run")
    file = run.path / INTERACTIONS
    file.parent.mkdir(parents=True)
    file.write_bytes(b"as it was taken")
    results = {"interactions": len(EVENTS), "sha256": file_digest(file).sha256}
    run.finish(StepRecord("snapshot", "done", "", "2026-01-01T00:00:00+00:00", 1.0, results))
    return StepContext(Settings(database_url=SecretStr("postgresql://nowhere")), run, RunOptions())


def changed(context: StepContext, interactions: Interactions) -> str:
    return _changed(context, _gone(context, interactions))


def test_a_snapshot_is_known_by_its_hash(context: StepContext) -> None:
    assert changed(context, EVENTS) == ""
    (context.run.path / INTERACTIONS).write_bytes(b"with its labels shuffled")
    assert changed(context, EVENTS).startswith("interactions.parquet was taken with SHA-256 ")


def test_rows_that_an_erasure_took_are_no_change(context: StepContext) -> None:
    left = EVENTS.take(np.flatnonzero(EVENTS.user != 0))
    (context.run.path / INTERACTIONS).write_bytes(b"without one user")
    assert _gone(context, left) == len(EVENTS) - len(left) > 0
    assert changed(context, left) == ""
