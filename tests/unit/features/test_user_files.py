"""Files that hold a user are found, also by a server that leaves the parquet reader out of its process."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.admin.user_files import FileWithUser, scan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a file that holds user 7 twice, one that does not, one without users and a broken one."""
    for name, table in {
        "a/with": pa.table({"user_id": ["7", "8", "7"]}),
        "a/without": pa.table({"user_id": [8, 9]}),
        "b/items": pa.table({"item_id": ["7"]}),
    }.items():
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(table, path)
    (tmp_path / "b" / "broken.parquet").write_bytes(b"PAR1 and no more")
    return tmp_path


@pytest.mark.parametrize("left_out", [False, True])
def test_rows_are_counted_by_file(folder: Path, monkeypatch: pytest.MonkeyPatch, *, left_out: bool) -> None:
    if left_out:
        monkeypatch.setitem(sys.modules, "pyarrow", None)

    found = scan([folder, folder / "nowhere"], "7")

    assert found.files == 2
    assert found.holding == [FileWithUser(str(folder / "a" / "with.parquet"), 2)]
    assert "nowhere: no such folder" in found.note
    assert "broken.parquet" in found.note
