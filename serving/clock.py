"""The wall clock, read in one place and passed on."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Gives the present moment in microseconds since 1970 UTC."""


def now_us() -> int:
    """Return the present moment in microseconds since 1970 UTC."""
    return time.time_ns() // 1000
