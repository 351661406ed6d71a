"""Memory that is free goes back to the machine."""

import ctypes
from typing import Final

_TRIM: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""glibc's; other C libraries have none."""


def give_back() -> None:
    """Hand free memory back; blocking, some milliseconds.

    glibc keeps what is freed below what is in use, in a heap for each of several threads: after a bundle was opened
    beside the one before, and that was freed, each of them may hold as much as both took.
    """
    if _TRIM is not None:
        _TRIM(0)
