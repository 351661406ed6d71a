"""Neighbour tables from the order of events: what users like soon after an item, or near it, or lately."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse

from training.bundle.tables import NeighbourTable
from training.data import Interactions

SHRINK: Final = 5.0
"""Added to what follows an item in all: pairs seen a few times only are worth little."""


@dataclass(frozen=True, slots=True)
class Following:
    """How one liked event counts for another of the same user.

    Attributes
    ----------
    steps
        Liked events after it that count.
    decay
        Weight of each further step.
    back
        Weight of the same pair in the other direction.
    half_life
        Share of the data's span over which a pair loses half of its weight; None: all times count alike.
    """

    steps: int
    decay: float
    back: float = 0.0
    half_life: float | None = None


FOLLOWINGS: Final = {
    "next": Following(steps=16, decay=0.9),
    "near": Following(steps=8, decay=0.8, back=0.5),
    "lately": Following(steps=16, decay=0.9, half_life=0.1),
}
"""By table."""


def following_table(interactions: Interactions, how: Following) -> NeighbourTable:
    """Return for each item those that users like around it, as a share of all that they do."""
    n_items = len(interactions.items)
    liked = interactions.take(np.flatnonzero(interactions.standing > 0))
    order, _ = liked.by_user
    user, item = liked.user[order], liked.item[order]
    worth = _worth(liked, how.half_life)[order]
    total = sparse.csr_matrix((n_items, n_items), dtype=np.float32)
    for step in range(1, how.steps + 1):
        same = user[step:] == user[:-step]
        weight = np.float32(how.decay ** (step - 1)) * worth[step:][same]
        pairs = sparse.csr_matrix((weight, (item[:-step][same], item[step:][same])), shape=total.shape)
        total = total + pairs
    if how.back:
        total = total + np.float32(how.back) * total.T.tocsr()
    out = np.asarray(total.sum(axis=1)).ravel() + SHRINK
    return NeighbourTable.from_matrix(sparse.diags_array(1 / out).tocsr() @ total)


def _worth(liked: Interactions, half_life: float | None) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return what each event weighs by its age: float32 (n,)."""
    if half_life is None or not len(liked):
        return np.ones(len(liked), dtype=np.float32)
    newest = int(liked.at_us[-1])
    age = (newest - liked.at_us) / max(half_life * (newest - liked.begin_us), 1)
    return np.exp2(-age).astype(np.float32)
