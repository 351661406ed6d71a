"""One step of a run: its options are those of its first step, wherever it broke off."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from features.settings import Settings
from training.steps import runner
from training.steps.options import RunOptions, read_options
from training.steps.runner import StepContext, StepResult, run_step
from training.steps.state import RunError, RunFolder

CHOSEN = RunOptions(promote=False, factors=128, seed=7)


class KilledError(Exception):
    """The process was killed here."""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings for runs whose first step does nothing."""

    def step(_: StepContext) -> StepResult:
        return StepResult("nothing", {})

    monkeypatch.setattr(importlib, "import_module", lambda _: SimpleNamespace(run=step))
    return Settings(database_url=SecretStr("postgresql://nobody@127.0.0.1:1/nothing"), work_dir=tmp_path)


def test_a_run_killed_in_its_first_step_goes_on_with_its_own_options(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: str) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(runner, "failpoint", killed)
        with pytest.raises(KilledError):
            run_step("snapshot", "r", settings, CHOSEN)
    run_step("snapshot", "r", settings)
    assert read_options(RunFolder(settings.work_dir, "r")) == CHOSEN


def test_a_first_step_that_failed_takes_better_options(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(runner, "failpoint", lambda _: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            run_step("snapshot", "r", settings, RunOptions(factors=8))
    run_step("snapshot", "r", settings, CHOSEN)
    assert read_options(RunFolder(settings.work_dir, "r")) == CHOSEN


def test_options_that_come_too_late_are_refused(settings: Settings) -> None:
    run_step("snapshot", "r", settings, CHOSEN)
    assert run_step("snapshot", "r", settings, CHOSEN).summary == "nothing"  # as Airflow tries again
    for step in ("snapshot", "retrieval"):
        with pytest.raises(RunError, match="Start another run"):
            run_step(step, "r", settings, RunOptions(factors=8))
    assert read_options(RunFolder(settings.work_dir, "r")) == CHOSEN
