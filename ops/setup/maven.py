"""Maven as a fetcher of jars."""

import os
import shutil
import subprocess
from pathlib import Path

from ops.setup.errors import SetupError


def cache_folder() -> Path:
    """Return the folder of this user that outlives checkouts: ``$XDG_CACHE_HOME/marquee`` or ``~/.cache/marquee``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "marquee"


def copy_jars(pom: Path, target: Path, java: Path, what: str, again: str) -> None:
    """Let Maven copy the run-time jars that a pom names, and what they need, into a folder.

    Parameters
    ----------
    what, again
        What is fetched, in words, and the command that tries again.

    Raises
    ------
    SetupError
        Where Maven is missing or fails.
    """
    maven = shutil.which("mvn")
    if maven is None:
        raise SetupError(f"Maven is missing (it fetches {what})", "apt-get install maven  (macOS: brew install maven)")
    command = [maven, "-q", "-B", "-Dstyle.color=never", "-f", str(pom), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={target}", "-DincludeScope=runtime"]
    environment = {**os.environ, "JAVA_HOME": str(java.resolve().parents[1])}
    # Quiet as it is, it writes escapes for colours that nobody asked for.
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SetupError(f"Maven could not fetch {what}:\n{done.stdout}{done.stderr}", f"{again}  (once online)")
