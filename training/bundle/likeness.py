"""Items that are like one item: because the same users like them, or because their texts are near."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from training.bundle.parts import Parts
from training.bundle.sources import CONTENT

By = Literal["behaviour", "content"]
Bools = npt.NDArray[np.bool_]
Found = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]


def similar_items(parts: Parts, item: int, k: int, eligible: Bools | None, by: By) -> Found:
    """Return up to k items like one, best first, and their scores; see `Bundle.similar`."""
    blocked = np.zeros(len(parts.items), dtype=bool) if eligible is None else ~eligible
    blocked[item] = True
    return _texts(parts, item, k, blocked) if by == "content" else _neighbours(parts, "similar", item, k, blocked)


def _neighbours(parts: Parts, table: str, item: int, k: int, blocked: Bools) -> Found:
    items, scores = parts.tables[table].best(np.array([item], np.int32), np.ones(1), blocked, k)
    return items, scores.astype(np.float32)


def _texts(parts: Parts, item: int, k: int, blocked: Bools) -> Found:
    """Return the nearest texts: from the table of neighbours, or of all items where it holds too few."""
    found = _neighbours(parts, CONTENT, item, k, blocked)
    content = parts.content
    if content is None or len(found[0]) == k or not content.has_text[item]:
        return found
    near = content.vectors.astype(np.float32) @ content.vectors[item].astype(np.float32)
    near[blocked] = 0
    best = np.argsort(-near, kind="stable")[:k]
    best = best[near[best] > 0]
    return best.astype(np.int32), near[best]
