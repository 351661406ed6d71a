"""Where the workers of one server count: a folder that goes with them, however they end."""

import os
import signal
import tempfile
from pathlib import Path

import pytest

from serving.shared_metrics import folder_of_series


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where folders are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def server_that_waits() -> tuple[int, Path]:
    """Return the process id of a server whose folder is there, and that folder."""
    told_from, told_to = os.pipe()
    pid = os.fork()
    if pid == 0:
        with folder_of_series() as folder:
            (folder / "counter_0.db").write_bytes(b"1")
            os.write(told_to, str(folder).encode())
            signal.pause()
    os.close(told_to)
    told = os.read(told_from, 4096)
    os.close(told_from)
    return pid, Path(told.decode())


def test_a_folder_goes_with_its_server(folders: Path) -> None:
    with folder_of_series() as folder:
        assert folder.is_dir()
        assert list(folders.iterdir()) == [folder]
    assert not list(folders.iterdir())


def test_the_folder_of_a_server_that_was_killed_is_removed_at_the_next_start_and_no_other(folders: Path) -> None:
    pid, folder = server_that_waits()
    (folders / "of others").mkdir()
    (folders / "marquee-series-link").symlink_to(folders / "of others")
    try:
        with folder_of_series():
            assert (folder / "counter_0.db").exists()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert folder.exists()
    with folder_of_series():
        assert not folder.exists()
        assert (folders / "of others").is_dir()
