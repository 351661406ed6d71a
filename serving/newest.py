"""Items by when they appeared, newest first, kept in order while items come and change."""

from typing import Final

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]

_FIRST_SIZE: Final = 1024
_STEP: Final = 4096
"""Rows that are looked at at once: nearly always the first of them are enough."""


class Appearances:
    """When the items in some rows appeared, and their order by it."""

    def __init__(self) -> None:
        self._at_us = np.zeros(_FIRST_SIZE, dtype=np.int64)
        self._known = np.zeros(_FIRST_SIZE, dtype=np.bool_)
        self._order: Rows = np.empty(0, dtype=np.int64)
        self._added: list[int] = []
        self._sorted = True

    def note(self, row: int, at_us: int) -> None:
        """Take note of when the item in a row appeared, microseconds since 1970 UTC."""
        if row >= len(self._at_us):
            size = max(row + 1 - len(self._at_us), len(self._at_us))
            self._at_us = np.concatenate((self._at_us, np.zeros(size, dtype=np.int64)))
            self._known = np.concatenate((self._known, np.zeros(size, dtype=np.bool_)))
        if not self._known[row]:
            self._added.append(row)
        elif self._at_us[row] == at_us:
            return
        self._known[row], self._at_us[row], self._sorted = True, at_us, False

    def newest_first(self) -> Rows:
        """Return the rows of all items noted, int64, the newest first."""
        if not self._sorted:
            rows = np.concatenate((np.array(self._added, dtype=np.int64), self._order))
            # What is nearly in order, as this is, is sorted in a single pass.
            self._order = rows[np.argsort(-self._at_us[rows], kind="stable")]
            self._added, self._sorted = [], True
        return self._order


def first_allowed(order: Rows, allowed: npt.NDArray[np.bool_], k: int) -> list[int]:
    """Return the first k rows of an order that are allowed.

    >>> first_allowed(np.array([2, 0, 1]), np.array([True, False, True]), 5)
    [2, 0]
    """
    found: list[int] = []
    for start in range(0, len(order), _STEP):
        if len(found) >= k:
            break
        rows = order[start : start + _STEP]
        found.extend(rows[allowed[rows]].tolist())
    return found[:k]
