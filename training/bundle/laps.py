"""What the steps of making a list tell to who watches the time."""

from collections.abc import Callable

Lap = Callable[[str], bool]
"""Told each step once it is done (`retrieve`, `features`, `rank`); returns whether there is time for more."""


def unhurried(step: str) -> bool:
    """Let a list take the time that it takes."""
    del step
    return True
