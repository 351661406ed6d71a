"""What a ranker learns from: one user's candidates at one moment, with feature rows and what the user did next."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from features.contracts.profiles import Options, Profiles
from features.items import ItemView
from training import lists
from training.bundle.candidates import Candidates
from training.bundle.recommender import Recommender
from training.metrics import ndcg
from training.moments import Moment

Ints = npt.NDArray[np.int32]
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
    items
        int32 (n,), the candidates' internal indices; None where they are of no bundle.
    """

    rows: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.float32]
    gain: npt.NDArray[np.float32]
    relevant: int
    position: npt.NDArray[np.float32] | None = None
    user: int = MISSING
    items: Ints | None = None

    @property
    def hit(self) -> npt.NDArray[np.bool_]:
        """Return which candidates were liked, bool (n,)."""
        return self.gain > 0

    def take(self, rows: Rows) -> "Group":
        """Return the group with some of its candidates."""
        position = None if self.position is None else self.position[rows]
        items = None if self.items is None else self.items[rows]
        parts = self.rows[rows], self.ranks[rows], self.gain[rows]
        return Group(*parts, self.relevant, position, self.user, items)

    def joined(self, other: "Group") -> "Group":
        """Return the group with the candidates of another one, of the same user and moment, behind its own."""
        return replace(
            self,
            rows=np.concatenate((self.rows, other.rows)),
            ranks=np.concatenate((self.ranks, other.ranks)),
            gain=np.concatenate((self.gain, other.gain)),
            position=None,
            items=None,
        )

    def ndcg(self, scores: npt.NDArray[np.float64], k: int = 10) -> float:
        """Return NDCG@k of the candidates ordered by scores (n,); a label that was not retrieved is missed."""
        hit = self.hit[np.argsort(-scores, kind="stable")][None, :k]
        return float(ndcg(hit, np.array([self.relevant]), k)[0])


@dataclass(frozen=True, eq=False)
class Asked:
    """One user of a moment: the history (number `user` of `profiles`), the items as they stand, and what came next."""

    profiles: Profiles
    user: int
    view: ItemView
    internal: int
    labels: Ints
    gains: npt.NDArray[np.float32]

    @property
    def user_id(self) -> str:
        """Return the user's id."""
        return self.profiles.user_ids[self.user]

    def group(self, candidates: Candidates, rows: npt.NDArray[np.float32], among: npt.NDArray[np.bool_]) -> "Group":
        """Return the group of the user's candidates, to whom only labels among some items, bool (n_items,), count."""
        some = among[self.labels]
        labels, gains = self.labels[some], self.gains[some]
        gain = _values_at(candidates.items, labels, gains) if some.any() else np.zeros(len(rows), np.float32)
        return Group(rows, candidates.ranks, gain, len(labels), None, self.internal, candidates.items)


def asked(recommender: Recommender, moment: Moment, chosen: Rows) -> Iterator[Asked]:
    """Yield some of a moment's users (positions), in the order of their moments."""
    users, as_of_us = moment.users[chosen], moment.as_of_us[chosen]
    for batch in lists.groups(moment.history, users, as_of_us, recommender.plan.history_limit):
        view = recommender.view(batch.statistics)
        for user, position in enumerate(chosen[batch.position].tolist()):
            internal = int(moment.users[position])
            yield Asked(batch.profiles, user, view, internal, moment.labels[position], moment.gains[position])


def candidate_groups(recommender: Recommender, moment: Moment, chosen: Rows, options: Options) -> Iterator[Group]:
    """Yield the groups of some of a moment's users, candidates made by the code that serves.

    Only items that somebody had met are candidates; labels on others are missed.
    """
    every = np.ones(recommender.n_items, dtype=bool)
    may = replace(options, eligible=moment.met)
    for one in asked(recommender, moment, chosen):
        candidates, rows = recommender.candidates(one.profiles, one.user, one.view, may)
        yield one.group(candidates, rows, every)


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
