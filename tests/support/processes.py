"""Environments of the commands that tests start, and what the kernel says of a process."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_COVERAGE: Final = "COVERAGE_"


def uncounted(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return an environment in which coverage does not count the lines of a command.

    For commands that are to be killed, which could not tell, and for those that compute for long: counting doubles
    their time, and tests of the same code in their own process count its lines.
    """
    return {name: value for name, value in environment.items() if not name.startswith(_COVERAGE)}


def is_counted(environment: Mapping[str, str]) -> bool:
    """Return whether coverage counts the lines of a command in an environment."""
    return any(name.startswith(_COVERAGE) for name in environment)


def memory_of(pid: int | str = "self") -> dict[str, float]:
    """Return what the kernel says of a process's memory, in MiB: `Pss` is its share of what several use."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return {name: int(kib) / 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
