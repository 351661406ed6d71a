"""Users for a diff: drawn from all who were active, as many of each length of history."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.data import Interactions
from training.evaluation.segments import LENGTHS


@dataclass(frozen=True, eq=False)
class Sample:
    """Users by internal index, int32 (n,); `segment` the place of each in `names`, int64 (n,); `events` of each."""

    users: npt.NDArray[np.int32]
    segment: npt.NDArray[np.int64]
    names: tuple[str, ...]
    events: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self.users)


def sample_users(interactions: Interactions, n: int, seed: int) -> Sample:
    """Return n users, or all where there are fewer, evenly over the segments that have enough; one seed, one sample."""
    events = np.diff(interactions.by_user[1])
    rng = np.random.default_rng(seed)
    members = [rng.permutation(np.flatnonzero(_within(events, bounds))) for bounds in LENGTHS]
    taken = [
        np.sort(some[:size]) for some, size in zip(members, _sizes([len(some) for some in members], n), strict=True)
    ]
    users = np.concatenate(taken).astype(np.int32)
    segment = np.repeat(np.arange(len(taken)), [len(some) for some in taken])
    return Sample(users, segment, tuple(segment_name(bounds) for bounds in LENGTHS), events[users])


def segment_name(bounds: tuple[int, int | None]) -> str:
    """Return how a range of history lengths is called.

    >>> segment_name((3, 5)), segment_name((51, None))
    ('3-5 events', '51+ events')
    """
    low, high = bounds
    return f"{low}-{high} events" if high else f"{low}+ events"


def _within(events: npt.NDArray[np.int64], bounds: tuple[int, int | None]) -> npt.NDArray[np.bool_]:
    low, high = bounds
    return (events >= low) & (events <= (high or events.max(initial=0)))


def _sizes(members: list[int], n: int) -> list[int]:
    """Return how many to take of groups: n in all, evenly, and what small ones lack from the others.

    >>> _sizes([2, 100, 100], 20)
    [2, 9, 9]
    """
    sizes = [0] * len(members)
    left = min(n, sum(members))
    by_size = sorted(range(len(members)), key=lambda group: members[group])
    for place, group in enumerate(by_size):
        sizes[group] = min(members[group], left // (len(members) - place))
        left -= sizes[group]
    return sizes
