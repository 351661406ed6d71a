"""How long one list takes, of both versions on the same users in turn."""

import time
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.profiles import Options
from training.data import Interactions
from training.diff.sides import Side
from training.lists import groups
from training.metrics import Floats

USERS: Final = 100
_TIMES: Final = 3
"""Of each user's list the shortest time counts: what is longer is the machine's other work."""
_WARM: Final = 5
"""Users whose lists are made before the clock counts: orders and compiled loops are then ready."""


@dataclass(frozen=True, eq=False)
class Speed:
    """Milliseconds of one user's list, float64 (n,), of each version."""

    first: Floats
    second: Floats


def measure(
    sides: tuple[Side, Side],
    histories: tuple[Interactions, Interactions],
    users: npt.NDArray[np.int32],
    as_of_us: int,
    k: int,
) -> Speed:
    """Return how long the recommender takes for some users one by one: features and ranker, without any I/O.

    The two versions take turns, and take turns in beginning: whatever else the machine does hits both alike.
    """
    users = users[:: max(len(users) // USERS, 1)][:USERS]
    both = [_Single(side, history, users, as_of_us, k) for side, history in zip(sides, histories, strict=True)]
    for place in range(min(_WARM, len(users))):
        for single in both:
            single.took_ms(place)
    took = np.full((len(users), 2), np.inf)
    for place, turn in product(range(len(users)), range(_TIMES)):
        for number in (0, 1) if (place + turn) % 2 else (1, 0):
            took[place, number] = min(took[place, number], both[number].took_ms(place))
    return Speed(took[:, 0], took[:, 1])


class _Single:
    """Makes lists of one version, a user at a time."""

    def __init__(self, side: Side, history: Interactions, users: npt.NDArray[np.int32], as_of_us: int, k: int) -> None:
        self._recommender = side.bundle.recommender
        moments = np.full(len(users), as_of_us, dtype=np.int64)
        self._group = next(groups(history, users, moments, self._recommender.plan.history_limit))
        self._options = Options(k=k)

    def took_ms(self, place: int) -> float:
        """Return the milliseconds of one user's list."""
        profile, as_of = self._group.profiles.take(np.array([place])), self._group.as_of_us[place : place + 1]
        started = time.perf_counter()
        self._recommender.recommend(profile, self._group.statistics, as_of, self._options)
        return (time.perf_counter() - started) * 1000
