"""How candidates go with the user's latest items, by the neighbour tables, whoever offered them."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.spec import Feature
from training.bundle.sources import User
from training.bundle.tables import NeighbourTable

WINDOWS: Final = (1, 5, 20)
"""Latest liked events over which what goes with a candidate is summed."""
READ: Final = ("similar", "next", "near")
"""Tables that are read."""

_LONGEST: Final = max(WINDOWS)
_COLUMNS: Final = len(WINDOWS) + 2


def affinity_features() -> list[Feature]:
    """Return the columns that `affinities` gives, in its order."""
    columns = []
    for name in READ:
        sums = ((window, f"sum of `{name}` weights from the last {window} liked items") for window in WINDOWS)
        columns += [Feature(f"{name}_last_{window}", meaning, "0..", name) for window, meaning in sums]
        best, ago = f"largest of the last {_LONGEST}", f"liked events since the newest item that has it in `{name}`"
        columns += [Feature(f"{name}_best_{_LONGEST}", best, "0..1", name), Feature(f"{name}_ago", ago, "count", name)]
    return [*columns, Feature("similar_disliked", "sum of `similar` weights from disliked items", "0..", "similar")]


def affinities(
    user: User, candidates: npt.NDArray[np.int32], tables: Mapping[str, NeighbourTable]
) -> npt.NDArray[np.float32]:
    """Return for each candidate how it goes with a history, float32 (n_candidates, len(affinity_features())).

    Parameters
    ----------
    user
        Whose history counts.
    candidates
        int32 (n_candidates,), internal indices, ascending.
    tables
        Neighbour tables by name, those of `READ` among them.
    """
    columns = np.zeros((len(candidates), len(READ) * _COLUMNS + 1), dtype=np.float32)
    for number, name in enumerate(READ):
        block = columns[:, number * _COLUMNS : (number + 1) * _COLUMNS]
        tables[name].affinities(candidates, user.liked_items[:_LONGEST], WINDOWS, block)
    disliked = user.item[np.flatnonzero(user.weight < 0)[:_LONGEST]]
    if len(disliked):
        block = np.empty((len(candidates), 3), np.float32)
        tables["similar"].affinities(candidates, disliked, (_LONGEST,), block)
        columns[:, -1] = block[:, 0]
    return columns
