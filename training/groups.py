"""What a ranker learns from: one user's candidates at one moment, with feature rows and what the user did next."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from features.contracts.profiles import Options
from training import lists
from training.bundle.recommender import Recommender
from training.hiding import Hiding, eligible_at
from training.metrics import ndcg
from training.moments import Moment

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Group:
    """Candidates of one user at one moment.

    Attributes
    ----------
    rows
        float32 (n, n_features), in spec order.
    ranks
        float32 (n, n_sources), rank from 1 within each source, NaN where unknown.
    gain
        float32 (n,), how much the user liked it next: an action weight, 0 = not at all.
    relevant
        What the user liked next, retrieved or not: items.
    position
        float32 (n,), place from 1 at which it was shown; None where candidates were not shown.
    user
        Internal index of the user, `MISSING` where unknown.
    """

    rows: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.float32]
    gain: npt.NDArray[np.float32]
    relevant: int
    position: npt.NDArray[np.float32] | None = None
    user: int = MISSING

    @property
    def hit(self) -> npt.NDArray[np.bool_]:
        """Return which candidates were liked, bool (n,)."""
        return self.gain > 0

    def take(self, rows: Rows) -> "Group":
        """Return the group with some of its candidates."""
        position = None if self.position is None else self.position[rows]
        return replace(self, rows=self.rows[rows], ranks=self.ranks[rows], gain=self.gain[rows], position=position)

    def ndcg(self, scores: npt.NDArray[np.float64], k: int = 10) -> float:
        """Return NDCG@k of the candidates ordered by scores (n,); a label that was not retrieved is missed."""
        hit = self.hit[np.argsort(-scores, kind="stable")][None, :k]
        return float(ndcg(hit, np.array([self.relevant]), k)[0])


def candidate_groups(
    recommender: Recommender | Hiding, moment: Moment, chosen: Rows, options: Options
) -> Iterator[Group]:
    """Yield the groups of some of a moment's users (positions), candidates made by the code that serves."""
    users, as_of_us = moment.users[chosen], moment.as_of_us[chosen]
    may = replace(options, eligible=eligible_at(recommender, moment))
    for batch in lists.groups(moment.history, users, as_of_us, recommender.plan.history_limit):
        view = recommender.view(batch.statistics)
        for user, position in enumerate(batch.position.tolist()):
            candidates, rows = recommender.candidates(batch.profiles, user, view, may)
            labels, gains = moment.labels[chosen[position]], moment.gains[chosen[position]]
            gain = _values_at(candidates.items, labels, gains)
            yield Group(rows, candidates.ranks, gain, len(labels), user=int(moment.users[chosen[position]]))


def _values_at(
    items: npt.NDArray[np.int32], known: npt.NDArray[np.int32], value: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the value of each item that is among the known ones (ascending), 0 for others."""
    position = np.minimum(np.searchsorted(known, items), len(known) - 1)
    return np.where(known[position] == items, value[position], np.float32(0))


def with_fewer_negatives(groups: Iterable[Group], limit: int, rng: np.random.Generator) -> Iterator[Group]:
    """Yield the groups that have something liked, each with at most `limit` of its other candidates."""
    for group in groups:
        if not group.hit.any():
            continue
        missed = rng.permutation(np.flatnonzero(~group.hit))[:limit]
        yield group.take(np.sort(np.concatenate((np.flatnonzero(group.hit), missed))))
