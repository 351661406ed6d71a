"""A version made again is held against the recorded one file by file, on data that is proved to be what the run saw."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from features.admin.old_parts import forget_older
from features.admin.user_files import scan
from features.build.part_files import PartFiles
from features.contracts.hashes import sha256_of
from features.contracts.parts import FOLDER, digest_of, part_name, part_of
from tests.support.synthetic import SMALL, make_categories, make_facts, make_interactions
from training.bundle.manifest import file_digest
from training.bundle.read import verify_bundle
from training.bundle.write import write_bundle
from training.reproducing import FileCompared, MetricCompared, Reproduction, compare_files, compare_metrics
from training.retrieval import Training, fit_retrieval
from training.steps.frozen import SnapshotGoneError, hand_over, verify_snapshot
from training.steps.inputs import DIGEST, FILES, ROWS
from training.steps.keeping import remove_old_runs
from training.steps.options import RunOptions, write_options
from training.steps.state import RunFolder, StepRecord

AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Return a run whose snapshot holds four rows of each of fifty users."""
    run = RunFolder(tmp_path, "nightly-1")
    folder = run.path / "snapshot"
    (folder / FOLDER).mkdir(parents=True)
    users = [f"u{number}" for number in range(50)] * 4
    days = [AT - timedelta(days=number // 50) for number in range(200)]
    rows = pa.table({"user_id": users, "occurred_at": pa.array(days, pa.timestamp("us", "UTC"))})
    with PartFiles(folder / FOLDER, rows.schema) as parts:
        parts.write(rows)
    (folder / "items.parquet").write_bytes(b"items")
    files = {
        str(path.relative_to(folder)): sha256_of(path) for path in sorted(folder.rglob("*.parquet")) if path.is_file()
    }
    write_options(run, RunOptions())
    results = {ROWS: parts.rows, FILES: files, DIGEST: digest_of(files)}
    run.finish(StepRecord("snapshot", "done", "200 interactions", AT.isoformat(), 1.0, results))
    return run


def test_a_snapshot_is_what_the_run_recorded(run: RunFolder) -> None:
    found = verify_snapshot(run)
    assert found.digest == run.finished("snapshot").results[DIGEST]
    assert (sum(found.rows.values()), found.erased_rows) == (200, 0)


def test_erased_rows_are_counted_and_what_the_ledger_leads_to_is_accepted(run: RunFolder) -> None:
    assert part_of("u1") != part_of("u2")
    for user in ("u1", "u2"):
        scan([run.path], user, AT)
    assert verify_snapshot(run).erased_rows == 8


def test_rows_that_had_become_too_old_are_told_from_those_of_erased_users(run: RunFolder) -> None:
    scan([run.path], "u1", AT)
    for days in (3, 2):  # night after night
        forget_older(run.path.parent, AT - timedelta(days=days - 1), AT)
    found = verify_snapshot(run)
    assert (found.erased_rows, found.expired_rows) == (4 + 2 * 49, 2 * 49)
    forget_older(run.path.parent, AT + timedelta(days=1), AT)
    assert sum(verify_snapshot(run).rows.values()) == 0, "files of no rows are the same: each is led to by its own name"


@pytest.mark.parametrize("place", ["items.parquet", f"{FOLDER}/{part_name(part_of('u1'))}"])
def test_an_altered_file_is_refused_by_name(run: RunFolder, place: str) -> None:
    scan([run.path], "u1", AT)
    with (run.path / "snapshot" / place).open("ab") as file:
        file.write(b"x")
    with pytest.raises(SnapshotGoneError, match=f"{Path(place).name}: SHA-256 is .* The file was altered"):
        verify_snapshot(run)


def test_a_snapshot_that_is_gone_is_named_with_its_place(run: RunFolder) -> None:
    (run.path / "snapshot" / "items.parquet").unlink()
    with pytest.raises(SnapshotGoneError, match=r"items.parquet: gone"):
        verify_snapshot(run)
    run.path.rename(run.path.with_name("elsewhere"))
    with pytest.raises(SnapshotGoneError, match=f"expected {run.path / 'snapshot'}"):
        verify_snapshot(run)


def test_a_run_that_is_handed_a_snapshot_can_prove_it_too(run: RunFolder, tmp_path: Path) -> None:
    scan([run.path], "u1", AT)
    again = RunFolder(tmp_path, "again")
    hand_over(run, verify_snapshot(run), again)
    found = verify_snapshot(again)
    assert (sum(found.rows.values()), found.erased_rows) == (196, 0)
    scan([again.path], "u2", AT)
    assert verify_snapshot(again).erased_rows == 4
    assert verify_snapshot(run).erased_rows == 4, "a link is replaced, what it led to stays"


def test_bundles_of_one_seed_are_the_same_and_others_are_told_apart_by_their_arrays(tmp_path: Path) -> None:
    known = make_interactions()
    training = Training(known, make_categories(), make_facts(), int(known.at_us[-1]) + 1)
    made = {}
    for name, seconds, seed in (("a", 0, 0), ("b", 1, 0), ("c", 0, 1)):
        parts = fit_retrieval(training, replace(SMALL, seed=seed))
        written = write_bundle(
            tmp_path / name, parts, created_at=AT + timedelta(seconds=seconds), code_version="test", seed=0
        )
        made[name] = verify_bundle(tmp_path / name, written)

    assert compare_files(tmp_path / "a", made["a"], tmp_path / "b", made["b"]) == []
    different = {file.name: file for file in compare_files(tmp_path / "a", made["a"], tmp_path / "c", made["c"])}
    assert different["factors.npy"].near is False
    assert different["index.faiss"].near is None
    assert "ease_value.npy" not in different


def test_arrays_are_near_within_the_last_digits(tmp_path: Path) -> None:
    manifests = []
    known = make_interactions()
    parts = fit_retrieval(Training(known, make_categories(), make_facts(), int(known.at_us[-1]) + 1), SMALL)
    for name, change in (("a", 0.0), ("b", 1e-6)):
        folder = tmp_path / name
        manifest = verify_bundle(folder, write_bundle(folder, parts, created_at=AT, code_version="test", seed=0))
        factors = np.load(folder / "factors.npy")
        np.save(folder / "factors.npy", factors * (1 + np.float32(change)))
        changed = {**manifest.files, "factors.npy": file_digest(folder / "factors.npy")}
        manifests.append(msgspec.structs.replace(manifest, files=changed))
    [found] = compare_files(tmp_path / "a", manifests[0], tmp_path / "b", manifests[1])
    assert (found.name, found.near) == ("factors.npy", True)


def test_erasures_widen_what_a_metric_may_differ_by() -> None:
    recorded = {"ndcg@10": 0.5, "ndcg@10_low": 0.45, "ndcg@10_high": 0.55, "popularity/ndcg@10": 0.1}
    now = {"ndcg@10": 0.53}
    [strict] = compare_metrics(recorded, now, 0.002, erased=False)
    [wide] = compare_metrics(recorded, now, 0.002, erased=True)
    assert (strict.holds, wide.holds) == (False, True)
    for value, touches in ((0.58, True), (0.6, False)):
        interval = {"ndcg@10": value, "ndcg@10_low": value - 0.04, "ndcg@10_high": value + 0.04}
        assert [found.holds for found in compare_metrics(recorded, interval, 0.002, erased=True)] == [touches]
    assert compare_metrics({"c": 0.5, "c_low": 0.5, "c_high": 0.5}, {"c": 0.6}, 0.002, erased=True) == []
    [missing] = compare_metrics(recorded, {}, 0.002, erased=True)
    assert not missing.holds


@pytest.mark.parametrize(
    ("near", "erased", "now", "verdict"),
    [
        (True, 0, 0.5, "within tolerance"),
        (None, 0, 0.5, "within tolerance"),
        (False, 0, 0.5, "different"),
        (False, 8, 0.5, "within tolerance"),
        (False, 8, 0.6, "different"),
        (True, 0, 0.6, "different"),
    ],
)
def test_the_verdict_needs_near_arrays_unless_rows_were_erased(
    near: bool | None,  # noqa: FBT001
    erased: int,
    now: float,
    verdict: str,
) -> None:
    files = [FileCompared("factors.npy", "", near)]
    found = Reproduction("1", "again", "a", "a", erased, 5, files, [MetricCompared("ndcg@10", 0.5, now, 0.01)], [])
    assert found.verdict == verdict


@pytest.mark.parametrize(("now", "verdict"), [(0.5, "the same"), (0.6, "different")])
def test_the_same_files_with_another_metric_are_not_told_to_be_the_same(now: float, verdict: str) -> None:
    found = Reproduction("1", "again", "a", "b", 0, 5, [], [MetricCompared("ndcg@10", 0.5, now, 0.01)], [])
    assert found.verdict == verdict


def test_old_runs_go_but_for_those_of_aliases_and_one_at_work(tmp_path: Path) -> None:
    for number in range(6):
        run = RunFolder(tmp_path, f"run-{number}")
        write_options(run, RunOptions())
        os.utime(run.path / "options.json", (number, number))
    (tmp_path / "skew").mkdir()
    with RunFolder(tmp_path, "run-1").locked():
        assert remove_old_runs(tmp_path, 2, {"run-0"}) == ["run-3", "run-2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-0", "run-1", "run-4", "run-5", "skew"]
    assert remove_old_runs(tmp_path, 0, ()) == []


def test_runs_without_a_version_do_not_push_out_those_with_one(tmp_path: Path) -> None:
    for number in range(4):
        run = RunFolder(tmp_path, f"run-{number}")
        write_options(run, RunOptions())
        os.utime(run.path / "options.json", (number, number))
    (tmp_path / "run-0" / "register.json").write_text("{}")
    assert remove_old_runs(tmp_path, 2, ()) == ["run-1"]
