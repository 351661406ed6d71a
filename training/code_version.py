"""Which code trains: the commit of the checkout, or the version of the image where there is none."""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


def code_version() -> str:
    """Return the project's version with the commit and, where files differ from it, `dirty`; as in 0.1.0+g1a2b3c4.

    Images carry no git folder: there the variable ``MARQUEE_CODE_COMMIT`` names the commit that they were built from.
    """
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    commit = os.environ.get("MARQUEE_CODE_COMMIT") or _commit()
    return f"{version}+g{commit}" if commit else str(version)


def _commit() -> str | None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return None
    answer = subprocess.run(  # noqa: S603  # a fixed command
        [git, "-C", str(ROOT), "describe", "--always", "--dirty=.dirty", "--abbrev=12", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() if answer.returncode == 0 else None
