"""A user is taken out of one part of a snapshot, and whatever kills the process, the ledger knows the file."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from features.admin import old_parts, part_rewriting, user_parts
from features.admin.old_parts import forget_older
from features.admin.user_files import FileWithUser, scan
from features.build.part_files import PartFiles
from features.contracts.batch import LISTS, SUCCESS, WRITTEN, remember_folder, written_folders
from features.contracts.errors import ContractError
from features.contracts.hashes import sha256_of
from features.contracts.parts import FOLDER, GONE, LEDGER, part_name, part_of, read_ledger, whole

ROOT = Path(__file__).resolve().parents[3]
AT = datetime(2026, 3, 1, tzinfo=UTC)
USERS = [f"u{number}" for number in range(200)]


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """Return the snapshot of a run with three rows of each user."""
    folder = tmp_path / "run-1" / "snapshot"
    (folder / FOLDER).mkdir(parents=True)
    days = [AT - timedelta(days=number // len(USERS)) for number in range(len(USERS) * 3)]
    rows = pa.table(
        {
            "user_id": USERS * 3,
            "number": range(len(USERS) * 3),
            "occurred_at": pa.array(days, pa.timestamp("us", "UTC")),
        }
    )
    with PartFiles(folder / FOLDER, rows.schema) as parts:
        parts.write(rows)
    return folder


def hashes(snapshot: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in whole(snapshot / FOLDER)}


def kept(snapshot: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in whole(snapshot / FOLDER)], ignore_index=True)


def test_every_row_lies_in_the_part_of_its_user_in_order(snapshot: Path) -> None:
    found = {path.name: pd.read_parquet(path) for path in whole(snapshot / FOLDER)}
    assert sorted(kept(snapshot)["number"]) == list(range(len(USERS) * 3))
    for name, rows in found.items():
        assert {part_name(part_of(user)) for user in rows["user_id"]} <= {name}
        assert rows["number"].is_monotonic_increasing


@pytest.mark.parametrize("left_out", [False, True])
def test_an_erasure_rewrites_one_part_and_says_which(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch, *, left_out: bool
) -> None:
    before, rows = hashes(snapshot), kept(snapshot)
    if left_out:  # as a server does, which lets a process of its own do it
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    planned = scan([snapshot.parent.parent], "u7")
    assert hashes(snapshot) == before
    done = scan([snapshot.parent.parent], "u7", AT)
    monkeypatch.undo()

    part = part_name(part_of("u7"))
    assert planned.rewritten == done.rewritten == [FileWithUser(str(snapshot / FOLDER / part), 3)]
    assert done.holding == []
    after = hashes(snapshot)
    assert {name for name in before if before[name] != after[name]} == {part}
    [line] = read_ledger(snapshot)
    assert (line.part, line.rows, line.old, line.new) == (part, 3, before[part], after[part])
    assert b"u7" not in (snapshot / LEDGER).read_bytes()
    expected = rows[rows["user_id"] != "u7"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept(snapshot), expected)
    assert scan([snapshot], "u7", AT).rewritten == []


@pytest.mark.parametrize("place", ["after_part", "after_ledger"])
def test_a_killed_erasure_leaves_a_part_that_is_known_and_is_done_again(snapshot: Path, place: str) -> None:
    before = hashes(snapshot)
    code = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path; "
        "from features.admin.user_files import scan; scan([Path(sys.argv[1])], 'u7', datetime.now(UTC))"
    )
    environment = {**os.environ, "MARQUEE_FAILPOINTS": f"{place}=kill"}
    died = subprocess.run([sys.executable, "-c", code, str(snapshot)], cwd=ROOT, env=environment, check=False)
    assert died.returncode == -signal.SIGKILL
    assert hashes(snapshot) == before
    with (snapshot / LEDGER).open("ab") as ledger:  # what a death in the middle of a line leaves
        ledger.write(b'{"at":"2026')

    scan([snapshot], "u7", AT)

    part = part_name(part_of("u7"))
    assert read_ledger(snapshot)[-1].old == before[part]
    assert read_ledger(snapshot)[-1].new == hashes(snapshot)[part]
    assert "u7" not in set(kept(snapshot)["user_id"])
    assert not list((snapshot / FOLDER).glob(".*"))


def test_a_part_that_is_missing_is_named(snapshot: Path) -> None:
    part = snapshot / FOLDER / part_name(part_of("u7"))
    part.unlink()
    with pytest.raises(ContractError, match=rf"1 of 32 parts are missing, first {part.name}"):
        whole(snapshot / FOLDER)
    assert "part that would hold the user is missing" in scan([snapshot], "u7", AT).note


def test_what_is_too_old_goes_from_every_part_and_the_ledgers_say_so(snapshot: Path) -> None:
    work, before, rows = snapshot.parent.parent, hashes(snapshot), kept(snapshot)
    assert forget_older(work, AT - timedelta(days=2), AT) == (0, "")
    assert forget_older(work, AT - timedelta(days=1), AT, dry_run=True) == (200, "")
    assert hashes(snapshot) == before
    assert not (snapshot / LEDGER).exists()

    assert forget_older(work, AT - timedelta(days=1), AT) == (200, "")

    expected = rows[rows["occurred_at"] >= AT - timedelta(days=1)].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept(snapshot), expected)
    lines = read_ledger(snapshot)
    assert {line.part: line.new for line in lines} == hashes(snapshot)
    assert (sum(line.rows for line in lines), {line.why for line in lines}) == (200, {"retention"})
    assert forget_older(work, AT - timedelta(days=1), AT) == (0, "")


def test_a_snapshot_in_the_making_is_left_alone_and_told(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (snapshot / FOLDER / part_name(3)).unlink()
    rows, note = forget_older(snapshot.parent.parent, AT, AT)
    assert rows == 0
    assert "1 of 32 parts are missing" in note
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    rows, note = forget_older(snapshot.parent.parent, AT, AT)
    assert rows == 0
    assert "pyarrow is not installed here; run `python -m features retain`" in note


@pytest.fixture
def work(snapshot: Path) -> Path:
    """Return the folder of three runs with the same snapshot, of which `run-1` has the fixture's."""
    for name in ("run-0", "run-2"):
        shutil.copytree(snapshot.parent, snapshot.parent.parent / name)
    return snapshot.parent.parent


def test_a_folder_that_vanishes_or_is_closed_stops_neither_erasure_nor_retention(
    snapshot: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = os.scandir

    def scandir(path: Any) -> Any:
        if path == str(work / "run-0"):
            subprocess.run(["rm", "-r", path], check=True)
        if path == str(work / "run-2"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = scan([work], "u7", AT)
    rows, note = forget_older(work, AT - timedelta(days=1), AT)

    assert [Path(file.path).parent for file in found.rewritten] == [snapshot / FOLDER]
    assert found.note == note == f"{work / 'run-2'}: not looked into: Permission denied"
    assert rows == 199  # of the user who was erased, none


def test_a_part_that_cannot_be_written_still_holds_the_user_and_the_others_are_written(
    snapshot: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = part_rewriting.rewrite

    def rewrite(part: Path, *arguments: Any) -> int:
        if "run-0" in part.parts:
            raise OSError(errno.EROFS, "Read-only file system", str(part))
        if "run-2" in part.parts:
            shutil.rmtree(work / "run-2", ignore_errors=True)
        return written(part, *arguments)

    for module in (user_parts, old_parts):
        monkeypatch.setattr(module, "rewrite", rewrite)
    found = scan([work], "u7", AT)
    shutil.copytree(snapshot.parent, work / "run-2")
    rows, note = forget_older(work, AT - timedelta(days=1), AT)

    closed = work / "run-0" / "snapshot" / FOLDER / part_name(part_of("u7"))
    assert found.holding == [FileWithUser(str(closed), 3)]
    assert found.note == f"{closed}: not written anew: Read-only file system"
    assert [Path(file.path).parent for file in found.rewritten] == [snapshot / FOLDER]
    assert rows == 199
    assert note.count("kept as it is: Read-only file system") == 32


@pytest.mark.parametrize("finished", [True, False])
def test_a_user_is_taken_out_of_finished_lists_wherever_they_were_written(tmp_path: Path, *, finished: bool) -> None:
    out, part = tmp_path / "out", tmp_path / "out" / LISTS / "part-00000.parquet"
    part.parent.mkdir(parents=True)
    pd.DataFrame({"user_id": ["u7", "u7", "u8"], "item_id": ["a", "b", "a"]}).to_parquet(part)
    if finished:
        (out / SUCCESS).touch()
    for folder in (out, tmp_path / "gone", out):
        remember_folder(tmp_path / "work", folder)
    folders = written_folders(tmp_path / "work")
    assert folders == [out.resolve(), (tmp_path / "gone").resolve()]

    found = scan(folders, "u7", AT)

    named = [FileWithUser(str(part), 2)]
    assert (found.rewritten, found.holding) == ((named, []) if finished else ([], named))
    assert "gone: no such folder here" in found.note
    assert pd.read_parquet(part)["user_id"].tolist() == (["u8"] if finished else ["u7", "u7", "u8"])


def test_what_a_user_had_before_retention_goes_as_well_and_only_interactions_have_an_age(snapshot: Path) -> None:
    gone = pa.table({"user_id": ["u7", "u8"], "item_id": ["a", "b"]})
    (snapshot / GONE).mkdir()
    with PartFiles(snapshot / GONE, gone.schema) as parts:
        parts.write(gone)

    found = scan([snapshot], "u7", AT)
    rows, note = forget_older(snapshot, AT - timedelta(days=1), AT)

    name = part_name(part_of("u7"))
    assert {file.path for file in found.rewritten} == {str(snapshot / each / name) for each in (FOLDER, GONE)}
    assert found.holding == []
    assert pd.concat(map(pd.read_parquet, whole(snapshot / GONE)))["user_id"].tolist() == ["u8"]
    assert (rows, note) == (199, "")


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\u2028b", "a b", '"a"', b"a\xffb".decode(errors="surrogateescape")])
def test_folders_of_any_name_are_remembered_beside_those_that_were_noted_as_they_are(tmp_path: Path, name: str) -> None:
    (tmp_path / WRITTEN).write_text(f"{tmp_path / 'before'}\n")
    for folder in (tmp_path / name, tmp_path / "after", tmp_path / name):
        remember_folder(tmp_path, folder)
    assert written_folders(tmp_path) == [tmp_path / "before", tmp_path / name, tmp_path / "after"]
