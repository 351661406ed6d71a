"""Items that are like one item: because the same users like them, or because their texts are near."""

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from training.bundle.parts import Parts
from training.bundle.sources import CONTENT

By = Literal["behaviour", "content"]
Bools = npt.NDArray[np.bool_]
Found = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]


SOON_LOOKED_THROUGH: Final = 5_000
"""Texts that are compared within 2 ms where vectors have 128 dimensions, within 4 ms where they have 384."""


def similar_items(parts: Parts, item: int, k: int, eligible: Bools | None, by: By, *, soon: bool = False) -> Found:
    """Return up to k items like one, best first, and their scores; see `Bundle.similar`."""
    blocked = np.zeros(len(parts.items), dtype=bool) if eligible is None else ~eligible
    blocked[item] = True
    if by == "content":
        return _texts(parts, item, k, blocked, soon=soon)
    return _neighbours(parts, "similar", item, k, blocked)


def _neighbours(parts: Parts, table: str, item: int, k: int, blocked: Bools) -> Found:
    items, scores = parts.tables[table].best(np.array([item], np.int32), np.ones(1), blocked, k)
    return items, scores.astype(np.float32)


def _texts(parts: Parts, item: int, k: int, blocked: Bools, *, soon: bool) -> Found:
    """Return the nearest texts: from the table of neighbours, or of all items where it holds too few.

    Of many items that takes long: what is wanted soon comes from the table alone then.
    """
    found = _neighbours(parts, CONTENT, item, k, blocked)
    content = parts.content
    if content is None or len(found[0]) == k or not content.has_text[item]:
        return found
    free = np.flatnonzero(~blocked)
    if soon and len(free) > SOON_LOOKED_THROUGH:
        return found
    near = content.vectors[free].astype(np.float32) @ content.vectors[item].astype(np.float32)
    best = np.argsort(-near, kind="stable")[:k]
    best = best[near[best] > 0]
    return free[best].astype(np.int32), near[best]
