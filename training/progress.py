"""How long work tells what it is at."""

from collections.abc import Callable

Progress = Callable[[str], None]
"""Called with a few words at each step."""


def silent(_: str) -> None:
    """Tell nobody."""
