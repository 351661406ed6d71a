"""A service without the supervisor: ready before use, gone afterwards, and clear when it cannot start."""

import sys
from pathlib import Path

import psutil
import pytest

from ops.local.direct import running
from ops.local.errors import NotReadyError, StackError
from ops.local.layout import Layout
from ops.local.ports import Ports
from ops.local.processes import end, stack_processes
from ops.local.service import Service
from ops.local.stack import Stack
from ops.local.state import Secrets, State

STUBBORN = """
import signal, subprocess, sys, pathlib
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"])
pathlib.Path(sys.argv[1]).touch()
signal.pause()
"""


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(Layout(tmp_path / "run", tmp_path / "mlruns"), State(Ports(), Secrets()))


def stubborn(tmp_path: Path) -> Service:
    """Return a service that, with its child, ignores the wish that it end."""
    sign = tmp_path / "ready"

    def ready(_started: float) -> None:
        if not sign.exists():
            raise NotReadyError("no sign yet")

    argv = (sys.executable, "-c", STUBBORN, str(sign))
    return Service("stubborn", argv, ready=ready, stop_within_s=0.5)


def test_what_ignores_its_end_is_ended_with_its_children(stack: Stack, tmp_path: Path) -> None:
    with running(stubborn(tmp_path), stack):
        processes = stack_processes(stack.layout)
        assert len(processes) == 2
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert not alive


def test_a_service_that_ends_at_once_is_named_with_its_log(stack: Stack) -> None:
    def never(_started: float) -> None:
        raise NotReadyError("no answer")

    ended = Service("ended", (sys.executable, "-c", "raise SystemExit(3)"), never, ready_within_s=60)
    with (
        pytest.raises(StackError, match=r"ended ended with code 3.*ended\.log"),
        running(ended, stack),
    ):
        pytest.fail("it never was ready")


def test_only_processes_that_bear_the_mark_of_the_stack_are_its_own(stack: Stack, tmp_path: Path) -> None:
    other = Stack(Layout(tmp_path / "other"), stack.state)
    with running(stubborn(tmp_path), stack):
        assert stack_processes(other.layout) == []
    assert end([]) == []
