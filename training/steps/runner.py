"""Running one step of a training run: once, after the step before it, and with a record at the end."""

import importlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol, cast

import structlog

from features.failpoints import failpoint
from features.settings import Settings
from training.steps.approval import Answer
from training.steps.options import RunOptions, has_options, read_options, write_options
from training.steps.state import DONE, SKIPPED, STEPS, RunError, RunFolder, StepRecord
from training.system_metrics import watched

log = structlog.get_logger(__name__)

SKIP_EXIT_CODE: Final = 99
"""Exit code of a step that had nothing to do: Airflow's BashOperator shows its task as skipped."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step may use; `answer` is what a person said of the version, None where nobody was asked."""

    settings: Settings
    run: RunFolder
    options: RunOptions
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step did: one line for people, and JSON values for the steps after it."""

    summary: str
    results: dict[str, Any]
    outcome: str = DONE


class _StepModule(Protocol):
    def run(self, context: StepContext) -> StepResult:
        """Do the step's work in the run's folder; safe to begin anew after it broke off."""
        ...


def run_step(
    name: str, run_id: str, settings: Settings, options: RunOptions | None = None, answer: Answer | None = None
) -> StepRecord:
    """Return the record of a step, doing its work unless it has finished before.

    Parameters
    ----------
    name
        One of `STEPS`.
    options
        Of the run; given to the first step only, which writes them down. Where none are given, a run that broke off
        goes on with its own.
    answer
        What a person said of the version; given to the last step only.

    Raises
    ------
    RunError
        If the step is unknown, the one before it has not finished, options come too late, or an answer too early.
    """
    if name not in STEPS:
        raise RunError(f"step {name!r} does not exist; expected one of {', '.join(STEPS)}")
    if answer is not None and name != STEPS[-1]:
        raise RunError(f"step {name!r} asks nobody: an answer is for step {STEPS[-1]!r}")
    run = RunFolder(settings.work_dir, run_id)
    with run.locked(), structlog.contextvars.bound_contextvars(run=run.run, step=name):
        known = run.record(name)
        if known is not None:
            if options is not None and options != read_options(run):
                raise _too_late(name, run)
            log.info("finished before, nothing to do", finished_at=known.finished_at, summary=known.summary)
            return known
        record = _record(name, run, settings, options, answer)
        failpoint("after_step")
        run.finish(record)
        log.info(record.outcome, summary=record.summary, took_s=record.took_s)
        return record


def _record(
    name: str, run: RunFolder, settings: Settings, options: RunOptions | None, answer: Answer | None
) -> StepRecord:
    started = time.monotonic()
    result = _skipped_before(name, run) or _work(name, StepContext(settings, run, _options(name, run, options), answer))
    return StepRecord(
        step=name,
        outcome=result.outcome,
        summary=result.summary,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        took_s=round(time.monotonic() - started, 3),
        results=result.results,
    )


def _skipped_before(name: str, run: RunFolder) -> StepResult | None:
    """Return a skipped result where the step before was skipped, None where this one may work."""
    position = STEPS.index(name)
    if position == 0:
        return None
    before = run.finished(STEPS[position - 1])
    return StepResult(before.summary, before.results, SKIPPED) if before.outcome == SKIPPED else None


def _options(name: str, run: RunFolder, options: RunOptions | None) -> RunOptions:
    if name != STEPS[0]:
        if options is not None:
            raise _too_late(name, run)
    elif options is not None or not has_options(run):  # what broke off goes on with its own
        write_options(run, options or RunOptions())
    return read_options(run)


def _too_late(name: str, run: RunFolder) -> RunError:
    return RunError(
        f"step {name!r} takes no other options: those of run {run.run!r} were fixed by its step {STEPS[0]!r}. "
        "Start another run to change them."
    )


def _work(name: str, context: StepContext) -> StepResult:
    # Imported by name: a step loads only the libraries that it uses.
    module = cast("_StepModule", importlib.import_module(f"training.steps.{name}"))
    with watched(context.run, name):
        return module.run(context)
