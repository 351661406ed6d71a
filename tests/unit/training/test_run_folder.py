"""The files of a training run: names, records, locks, and the outcome that they add up to."""

import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from training.steps.outcome import run_outcome
from training.steps.state import STEPS, RunError, RunFolder, StepRecord, run_name

ROOT = Path(__file__).resolve().parents[3]


def record(step: str, outcome: str = "done", **results: Any) -> StepRecord:
    return StepRecord(step, outcome, f"{step} was {outcome}", "2026-01-01T00:00:00+00:00", 1.5, results)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path, "nightly-1")
    folder.path.mkdir()
    return folder


def complete(run: RunFolder, gate: str = "promoted") -> None:
    results: dict[str, Any] = {"evaluate": {"metrics": {"ndcg@10": 0.2}}, "register": {"version": "7"}}
    for step in STEPS:
        run.finish(record(step, gate if step == "gate" else "done", **results.get(step, {})))


@pytest.mark.parametrize("given", ["manual__2026-01-01T00:00:00+00:00", "../../etc", "a b", "x" * 300, "ä", "-rf"])
def test_any_run_id_becomes_a_name_that_is_safe_everywhere(given: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,120}", run_name(given))
    assert not run_name(given).startswith((".", "-"))


def test_different_ids_get_different_names() -> None:
    assert run_name("a:b") != run_name("a+b")


def test_an_empty_id_is_refused() -> None:
    with pytest.raises(RunError, match="empty"):
        run_name(" ")


def test_a_record_comes_back_as_it_was_written(run: RunFolder) -> None:
    run.finish(record("snapshot", interactions=12))
    assert run.record("snapshot") == record("snapshot", interactions=12)
    assert [path.name for path in run.path.iterdir()] == ["snapshot.json"]


def test_a_missing_step_names_the_one_to_run_first(run: RunFolder) -> None:
    run.finish(record("snapshot"))
    with pytest.raises(RunError, match="training step retrieval --run nightly-1` first"):
        run.finished("evaluate")


def test_a_record_that_is_none_is_refused(run: RunFolder) -> None:
    (run.path / "snapshot.json").write_text('{"step": 1')
    with pytest.raises(RunError, match=r"snapshot\.json"):
        run.record("snapshot")


def test_one_process_at_a_time_works_on_a_run_and_the_next_waits_for_it(run: RunFolder) -> None:
    done = threading.Event()

    def work() -> None:
        with run.locked():
            done.set()

    program = (
        "import sys; from pathlib import Path; from training.steps.state import RunFolder\n"
        "with RunFolder(Path(sys.argv[1]), 'nightly-1').locked():\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(run.path.parent)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        waits = threading.Thread(target=work)
        waits.start()
        assert not done.wait(0.3)  # which a slow machine can only pass
        holder.kill()
        waits.join()
    assert done.is_set()


def test_who_waited_for_a_run_that_was_removed_holds_a_new_one_and_nobody_else_does(run: RunFolder) -> None:
    held, stop = threading.Event(), threading.Event()

    def work() -> None:
        with run.locked():
            held.set()
            stop.wait(60)

    waits = threading.Thread(target=work)
    with capture_logs() as told:
        with run.locked():
            run.finish(record("snapshot"))
            (run.path / "data").mkdir()
            waits.start()
            while not told:  # that it waits
                time.sleep(0.01)
            run.remove()
            assert not run.path.exists()
        try:
            assert held.wait(60)
            assert [path.name for path in run.path.iterdir()] == [".lock"]
            with pytest.raises(RunError, match="another process works on it"), run.locked(wait=False):
                pass
        finally:
            stop.set()
            waits.join()


def test_a_promoted_run_is_a_success_with_metrics_and_version(run: RunFolder) -> None:
    complete(run)
    ended = run_outcome(run)
    assert (ended.status, ended.metrics, ended.version) == ("success", {"ndcg@10": 0.2}, "7")
    assert ended.announcement("marquee") == [
        "--status",
        "success",
        "--metrics",
        '{"ndcg@10":0.2}',
        "--artifact-path",
        "models:/marquee/7",
    ]


@pytest.mark.parametrize("gate", ["refused", "needs_human"])
def test_a_run_that_the_gate_did_not_let_through_is_refused(run: RunFolder, gate: str) -> None:
    complete(run, gate)
    assert run_outcome(run).status == "refused"


def test_a_run_that_broke_off_has_failed_and_says_where(run: RunFolder) -> None:
    run.finish(record("snapshot"))
    ended = run_outcome(run)
    assert (ended.status, ended.why, ended.version) == ("failed", "step 'retrieval' did not finish", None)


def test_a_run_with_too_few_events_was_skipped(run: RunFolder) -> None:
    run.finish(record("snapshot", "skipped"))
    assert run_outcome(run).status == "skipped"


def test_a_run_without_files_has_failed(tmp_path: Path) -> None:
    assert run_outcome(RunFolder(tmp_path, "never")).status == "failed"
