"""Cuts between what is known and what is to be predicted."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.contracts.errors import ContractError
from features.contracts.times import told
from training.data import Interactions, Rows


@dataclass(frozen=True, eq=False)
class Split:
    """Rows before and after a cut (row numbers of `Interactions`, ascending)."""

    history: Rows
    later: Rows


def known_before(interactions: Interactions, at_us: int) -> Rows:
    """Return the rows that had happened and become known before a time: what one could have learned of then."""
    position = int(np.searchsorted(interactions.at_us, at_us, side="left"))
    return np.flatnonzero(interactions.known_us[:position] < at_us)


def cutoff_split(interactions: Interactions, cutoff_us: int, *, may_be_last: bool = False) -> Split:
    """Return the split history < cutoff <= later; what happened before and became known after it is in neither.

    Raises
    ------
    ContractError
        If one side is empty; the later one only where nothing says that the cut may be the last of all.
    """
    position = int(np.searchsorted(interactions.at_us, cutoff_us, side="left"))
    history, what = known_before(interactions, cutoff_us), f"cutoff {told(cutoff_us, has_clock=interactions.has_clock)}"
    if position and not len(history):
        what += f" (before which {position} happened, but became known later; history comes with `backfill: 1`)"
    later = np.arange(position, len(interactions))
    return Split(history, later) if may_be_last and len(history) else _checked(interactions, history, later, what)


def holdout_split(interactions: Interactions, share: float, sitting_us: int | None = None) -> Split:
    """Return the split in which the first ceil((1 - share) n) rows of each user are history.

    Parameters
    ----------
    sitting_us
        Rows of a user that follow one another within so long stay together: all of a sitting in which the cut would be
        come later, and of a user's only one, none. None cuts wherever the share says.

    Raises
    ------
    ContractError
        If the share is not between 0 and 1, or one side is empty.
    """
    if not 0 < share < 1:
        raise ContractError(f"holdout share {share}: expected a number between 0 and 1, such as 0.2")
    order, offsets = interactions.by_user
    counts = np.diff(offsets)
    # The tolerance keeps 0.8 x 5 = 4.000000000000001 from being rounded up to 5.
    kept = np.ceil((1 - share) * counts - 1e-9).astype(np.int64)
    if sitting_us is not None:
        begin = _begin_of_sitting(interactions.at_us[order], offsets, sitting_us)
        cut = np.minimum(offsets[:-1] + kept, max(len(order) - 1, 0))
        before = np.where(kept < counts, begin[cut] - offsets[:-1], counts)
        kept = np.where(before > 0, before, counts)
    within = np.arange(len(order)) - np.repeat(offsets[:-1], counts)
    is_history = np.zeros(len(interactions), dtype=bool)
    is_history[order] = within < np.repeat(kept, counts)
    return _checked(interactions, np.flatnonzero(is_history), np.flatnonzero(~is_history), f"holdout {share}")


def _begin_of_sitting(at_us: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64], sitting_us: int) -> Rows:
    """Return for each row of all users, end to end, at which the user's sitting begins that it is part of."""
    begins = np.diff(at_us, prepend=at_us[:1]) > sitting_us
    begins[offsets[:-1][np.diff(offsets) > 0]] = True
    return np.maximum.accumulate(np.where(begins, np.arange(len(at_us)), 0))


def _checked(interactions: Interactions, history: Rows, later: Rows, what: str) -> Split:
    if not len(history) or not len(later):
        first, last = (told(int(at_us), has_clock=interactions.has_clock) for at_us in interactions.at_us[[0, -1]])
        raise ContractError(
            f"{what} leaves {len(history)} interactions before and {len(later)} after it, of {len(interactions)} from "
            f"{first} to {last}; both sides need some: choose a cut inside the data"
        )
    return Split(history, later)


def new_liked_items(
    history: Interactions, later: Interactions, users: npt.NDArray[np.integer], *, include_seen: bool = False
) -> list[npt.NDArray[np.int32]]:
    """Return for each user the distinct items liked later, without those had in the history; ascending int32.

    What was liked and taken back again in the later rows is not among them.
    """
    width = max(len(history.items), len(later.items), 1)
    liked = later.standing > 0
    pairs = np.unique(later.user[liked].astype(np.int64) * width + later.item[liked])
    if not include_seen:
        had = np.unique(history.user.astype(np.int64) * width + history.item)
        pairs = pairs[~np.isin(pairs, had, assume_unique=True)]
    owner, item = pairs // width, (pairs % width).astype(np.int32)
    starts, ends = np.searchsorted(owner, users), np.searchsorted(owner, users, side="right")
    return [item[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def liked_weights(
    later: Interactions, users: npt.NDArray[np.integer], labels: list[npt.NDArray[np.int32]]
) -> list[npt.NDArray[np.float32]]:
    """Return for each user's labels (as `new_liked_items` gives them) the largest weight of a later event on them."""
    width = max(len(later.items), 1)
    liked = later.standing > 0
    pair = later.user[liked].astype(np.int64) * width + later.item[liked]
    order = np.lexsort((-later.weight[liked], pair))
    pairs, first = np.unique(pair[order], return_index=True)
    largest = later.weight[liked][order][first]
    return [
        largest[np.searchsorted(pairs, user * width + entry.astype(np.int64))]
        for user, entry in zip(users.astype(np.int64).tolist(), labels, strict=True)
    ]
