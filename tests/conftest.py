"""What every test may use, and the summary that names the groups."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
GROUPS = ("unit", "property", "contract", "integration", "dags", "acceptance", "docs")
PAUSE_S = 0.05
SLOWEST = 4
"""How many times slower a machine may be than those on which the times that tests wait for were chosen."""

WaitUntil = Callable[..., Any]

# No test sends anything to anyone, and numeric libraries share the machine with the services under test.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


# Machines are busy, and some examples compile a loop: how long one takes says nothing.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_sessionstart() -> None:
    """End on SIGTERM as on Ctrl-C, so that fixtures stop their services then too, and let commands under test do so.

    A shell starts what runs in its background with SIGINT ignored, and every process below would inherit that.
    """

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the long tests begin first, in the order drawn for them; short ones fill the time left beside them."""
    items.sort(key=lambda item: ("acceptance" not in item.path.parts, not _is_long(item)))


def _is_long(item: pytest.Item) -> bool:
    return item.get_closest_marker("integration") is not None or item.path.name == "test_notebooks.py"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line a group: how many tests of it passed, failed, were skipped."""
    counts: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.getreports(outcome):
            parts = Path(report.nodeid.split("::")[0]).parts
            if len(parts) > 1:
                counts.setdefault(parts[1], Counter())[outcome] += 1
    terminalreporter.section("groups")
    for group in sorted(counts, key=lambda name: GROUPS.index(name) if name in GROUPS else len(GROUPS)):
        told = ", ".join(f"{number} {outcome}" for outcome, number in counts[group].items())
        terminalreporter.write_line(f"{group:<12} {told}")


@pytest.fixture(scope="session")
def wait_until() -> WaitUntil:
    """Return ``wait_until(condition, timeout, what)``: the condition's first true value, or a failure saying `what`."""

    def wait(condition: Callable[[], Any], timeout: float, what: str) -> Any:
        patience = SLOWEST * timeout
        deadline = time.monotonic() + patience
        pause = threading.Event()
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                pytest.fail(f"not within {patience:g} s: {what}")
            pause.wait(PAUSE_S)

    return wait


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of public data sets (beside the checkout, or ``MARQUEE_SHARED_DATA``), skip without it."""
    folder = Path(os.environ.get("MARQUEE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets in {folder}: MARQUEE_SHARED_DATA names their folder")
    return folder
