"""Which processes belong to a stack, and how to end those that nobody watches any more."""

import os
import signal
from collections.abc import Collection

import psutil

from ops.local.layout import Layout
from ops.local.stack import MARKER

ENDS_WITHIN_S = 15


def stack_processes(layout: Layout) -> list[psutil.Process]:
    """Return the live processes of the stack: those that bear its mark, its Postgres, and the children of both."""
    data = str((layout.run_dir / "postgres").resolve() / "data")
    found = {}
    for process in psutil.process_iter():
        if _is_ours(process, str(layout.run_dir), data):
            for one in [process, *_children(process)]:
                found[one.pid] = one
    found.pop(os.getpid(), None)
    return list(found.values())


def _children(process: psutil.Process) -> list[psutil.Process]:
    """Return all descendants, none where the process ended meanwhile."""
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _is_ours(process: psutil.Process, run_dir: str, data: str) -> bool:
    """Return whether `process` was started by the stack of `run_dir`; Postgres writes over its environment."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.name() == "postgres" and process.cwd() == data:
            return True
        return process.environ().get(MARKER) == run_dir
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def end(processes: Collection[psutil.Process]) -> list[psutil.Process]:
    """End `processes`, asking first, and return those that had to be killed."""
    for process in processes:
        _send(process, signal.SIGINT if _name(process) == "postgres" else signal.SIGTERM)
    _, stubborn = psutil.wait_procs(processes, timeout=ENDS_WITHIN_S)
    for process in stubborn:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=ENDS_WITHIN_S)
    return stubborn


def _name(process: psutil.Process) -> str:
    """Return the program's name, empty where the process is gone."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def _send(process: psutil.Process, number: int) -> None:
    """Send a signal to a process that may be gone by now."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
