"""Ranked lists of many users at their moments: groups users by statistics bucket and calls the recommender for each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

from features.build.replay import replay_statistics
from features.contracts.ids import MISSING
from features.contracts.profiles import Options, Profiles
from features.contracts.statistics import ItemStatistics
from training.bundle.recommender import Recommender
from training.bundle.result import Recommendations
from training.data import Interactions

_BATCH: Final = 256
"""Users asked for at once: what a trace holds of each of them must fit into memory."""


@dataclass(frozen=True, eq=False)
class Group:
    """Users whose moments fall behind the same bucket edge: their positions among the users asked for."""

    position: npt.NDArray[np.int64]
    profiles: Profiles
    as_of_us: npt.NDArray[np.int64]
    statistics: ItemStatistics

    def batches(self, size: int = _BATCH) -> Iterator["Group"]:
        """Yield the users in parts of at most `size`, in their order."""
        for start in range(0, len(self.position), size):
            part = np.arange(start, min(start + size, len(self.position)))
            yield Group(self.position[part], self.profiles.take(part), self.as_of_us[part], self.statistics)


See = Callable[[Group, Recommendations], None]
"""Is shown each batch of users and their traced lists."""


def groups(
    history: Interactions,
    users: npt.NDArray[np.integer],
    as_of_us: npt.NDArray[np.int64],
    limit: int,
    profiles: Profiles | None = None,
) -> Iterator[Group]:
    """Yield users grouped by the bucket edge before their moment, edges ascending, with the statistics of that edge.

    Parameters
    ----------
    history
        What was known; of each user only what lies before the user's moment.
    users, as_of_us
        Internal indices and moments, (n_users,).
    limit
        Latest events of a user that count.
    profiles
        The users' histories, where `history` holds more of them than lies before their moments.
    """
    if not len(users):
        return
    edges = as_of_us - as_of_us % history.bucket_us
    order = np.argsort(edges, kind="stable")
    distinct, starts = np.unique(edges[order], return_index=True)
    replayed = replay_statistics(
        history.statistic_events(),
        history.start(),
        distinct,
        bucket_us=history.bucket_us,
        has_clock=history.has_clock,
    )
    profiles = history.profiles(users, limit) if profiles is None else profiles
    for statistics, position in zip(replayed, np.split(order, starts[1:]), strict=True):
        yield Group(position, profiles.take(position), as_of_us[position], statistics)


def recommend_all(
    recommender: Recommender,
    history: Interactions,
    users: npt.NDArray[np.integer],
    as_of_us: npt.NDArray[np.int64],
    options: Options,
    *,
    profiles: Profiles | None = None,
    see: See | None = None,
) -> Recommendations:
    """Return ranked lists of users at their moments, rows in the order of `users`; parameters as in `groups`.

    `see` is called with each batch of users and their lists with traces, which are not kept.
    """
    shape = (len(users), options.k)
    items, because = np.full(shape, MISSING, np.int32), np.full(shape, MISSING, np.int32)
    scores, sources = np.full(shape, np.nan, np.float32), np.full(shape, MISSING, np.int8)
    reasons: list[str | None] = [None] * len(users)
    grouped = groups(history, users, as_of_us, recommender.plan.history_limit, profiles)
    for group in chain.from_iterable(entry.batches() for entry in grouped):
        found = recommender.recommend(group.profiles, group.statistics, group.as_of_us, options, trace=see is not None)
        if see is not None:
            see(group, found)
        items[group.position], because[group.position] = found.items, found.because
        scores[group.position], sources[group.position] = found.scores, found.sources
        for position, reason in zip(group.position.tolist(), found.fallback_reason, strict=True):
            reasons[position] = reason
    return Recommendations(items, scores, sources, because, tuple(reasons))
