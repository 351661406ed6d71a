"""Where the folders of another account lie: inside the stack where it may go, outside where it may not."""

import os
import stat
from pathlib import Path

import pytest

from ops.local import account
from ops.local.account import make_copy, make_private_folder, private_folder, reachable, service_account

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands folders to another account")


def test_for_our_own_account_everything_stays_in_place(tmp_path: Path) -> None:
    assert private_folder(None, tmp_path / "run" / "postgres", "digest") == tmp_path / "run" / "postgres"
    assert reachable(None, tmp_path, "name") == tmp_path


@as_root
def test_behind_a_closed_door_the_folder_lies_outside_and_a_link_leads_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(account, "SYSTEM_STATE", tmp_path / "outside")
    user, wanted = service_account(), tmp_path / "postgres"
    folder = private_folder(user, wanted, "digest")
    assert folder == tmp_path / "outside" / "digest"
    make_private_folder(user, wanted, folder)
    make_private_folder(user, wanted, folder)
    assert wanted.resolve() == folder == private_folder(user, wanted, "digest")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folder.owner() == user


@as_root
def test_programs_behind_a_closed_door_are_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(account, "SYSTEM_CACHE", tmp_path / "cache")
    installed = tmp_path / "installed"
    for name in ("programs/bin", "libraries", "other"):
        (installed / name).mkdir(parents=True)
    copy = reachable(service_account(), installed, "programs-1")
    for _ in range(2):
        make_copy(installed, ("programs/bin", "libraries"), copy)
    assert copy == tmp_path / "cache" / "programs-1"
    assert {str(path.relative_to(copy)) for path in copy.rglob("*")} == {"programs", "programs/bin", "libraries"}
