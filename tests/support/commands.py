"""The project's commands, run to their end: processes of their own, forked from one that has imported the code before.

To import takes one to six seconds of processor time, and tests run some hundreds of commands. Those that are to be
killed, or whose start is the matter, are started as users start them.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Final

from coverage import Coverage

from tests.support.processes import is_counted

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE_S: Final = 800.0
_IMPORTED: Final = (
    __name__,
    "features.cli.app",
    "training.cli.app",
    "training.steps.register",
    "training.steps.tuning",
    "training.cli.backtest_run",
    "training.recommending",
)
_FORKING: Final = multiprocessing.get_context("forkserver")


def run_command(
    *arguments: str, environment: Mapping[str, str] = os.environ, timeout: float = PATIENCE_S
) -> subprocess.CompletedProcess[str]:
    """Return a finished ``python -m PACKAGE ...``: what it said, and its exit code.

    Parameters
    ----------
    arguments
        ``features`` or ``training``, and what follows.
    environment
        All that the command sees. Without coverage's variables its lines are not counted (`uncounted`).

    Raises
    ------
    subprocess.TimeoutExpired
        If it does not end within `timeout` seconds; it is killed.
    """
    _FORKING.set_forkserver_preload(list(_IMPORTED))
    command = ["python", "-m", *arguments]
    with tempfile.TemporaryDirectory() as name:
        said, complained = Path(name) / "stdout", Path(name) / "stderr"
        said.touch()
        complained.touch()
        process = _FORKING.Process(target=_run, args=(arguments, dict(environment), said, complained))
        process.start()
        try:
            process.join(timeout)
            if process.exitcode is None:
                raise subprocess.TimeoutExpired(command, timeout, said.read_bytes(), complained.read_bytes())
            done = subprocess.CompletedProcess(
                command, process.exitcode, said.read_text(encoding="utf-8"), complained.read_text(encoding="utf-8")
            )
        finally:
            process.kill()
            process.join()
            process.close()
    return done


def _run(arguments: tuple[str, ...], environment: dict[str, str], said: Path, complained: Path) -> None:
    """Be the command, in a process that was just forked."""
    for path, descriptor in ((said, 1), (complained, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    counting = Coverage.current()
    if counting is not None and not is_counted(environment):
        counting.stop()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    package, *rest = arguments
    sys.argv = [str(ROOT / package / "__main__.py"), *rest]
    import_module(f"{package}.cli.app").main()
