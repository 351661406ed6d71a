"""Maven as a fetcher of jars, and what is kept of them outside the checkout: whole by its sums, or fetched anew."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from ops.setup.errors import SetupError


def cache_folder() -> Path:
    """Return the folder of this user that outlives checkouts: ``$XDG_CACHE_HOME/marquee`` or ``~/.cache/marquee``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "marquee"


def is_whole(folder: Path, sums: Mapping[str, str]) -> bool:
    """Return whether every file of `sums`, name -> SHA-256 (hex), lies in a folder with its expected content."""
    return all(
        (folder / name).is_file() and hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        for name, digest in sums.items()
    )


def kept(folder: Path, sums: Mapping[str, str], fetch: Callable[[Path], None], differs: SetupError) -> Path:
    """Return a folder of the cache, fetched if it is not whole.

    It is fetched into a new folder first and renamed at the end, so that a broken download is never taken for whole.

    Parameters
    ----------
    fetch
        Puts the files into a folder that does not exist yet.
    differs
        Raised where what was fetched is not what `sums` say.
    """
    if is_whole(folder, sums):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}-", dir=folder.parent) as temporary:
        fresh = Path(temporary) / "fresh"
        fetch(fresh)
        if not is_whole(fresh, sums):
            raise differs
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    return folder


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
