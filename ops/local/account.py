"""Which account runs Postgres, which refuses to run as root, and what that account can reach."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

SYSTEM_CACHE = Path("/var/cache/marquee")
SYSTEM_STATE = Path("/var/lib/marquee")


def service_account() -> str | None:
    """Return the unprivileged account for Postgres: None (our own) unless we are root; then postgres, else nobody."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


class Identity(TypedDict, total=False):
    """The arguments with which `subprocess` becomes another account."""

    user: int
    group: int
    extra_groups: tuple[int, ...]


def run_as(account: str | None) -> Identity:
    """Return what `subprocess` needs to become `account`; nothing for our own."""
    if account is None:
        return {}
    entry = pwd.getpwnam(account)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": ()}


def can_enter(account: str | None, folder: Path) -> bool:
    """Return whether `account` may go into `folder`; root's home, for example, is closed to others."""
    if account is None:
        return True
    test = [shutil.which("test") or "/usr/bin/test", "-x", str(folder)]
    return subprocess.run(test, cwd="/", check=False, **run_as(account)).returncode == 0


def give(account: str | None, folder: Path) -> None:
    """Make `folder` belong to `account`, closed to all others."""
    folder.chmod(0o700)
    if account is not None:
        shutil.chown(folder, account, pwd.getpwnam(account).pw_gid)


def private_folder(account: str | None, wanted: Path, digest: str) -> Path:
    """Return where a folder of `account` is or belongs: `wanted`, or outside where the way there is closed."""
    if wanted.exists() or wanted.is_symlink():
        return wanted.resolve()
    nearest = next(folder for folder in wanted.parents if folder.exists())
    return wanted if can_enter(account, nearest) else SYSTEM_STATE / digest


def make_private_folder(account: str | None, wanted: Path, folder: Path) -> None:
    """Make `folder`, which `private_folder` chose, and a link to it where it lies outside."""
    folder.mkdir(parents=True, exist_ok=True)
    give(account, folder)
    if folder != wanted.resolve():
        wanted.symlink_to(folder)


def reachable(account: str | None, installed: Path, name: str) -> Path:
    """Return `installed`, or where `account` cannot reach it, the place of its copy in the system's cache."""
    return installed if can_enter(account, installed) else SYSTEM_CACHE / name


def make_copy(installed: Path, parts: Sequence[str], copy: Path) -> None:
    """Copy `parts` of the folder `installed` to the place that `reachable` chose, unless they are there.

    Built aside and renamed, so that half a copy is never taken for whole; the parts keep their places to each other,
    since programs find their libraries by them.
    """
    if copy == installed or copy.is_dir():
        return
    copy.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=copy.parent) as temporary:
        fresh = Path(temporary) / copy.name
        for part in parts:
            shutil.copytree(installed / part, fresh / part, symlinks=True)
        fresh.chmod(0o755)
        fresh.rename(copy)
