"""From offers to one user's candidates: the union of what all sources offer, with rank and relative score of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from features.items import ItemView
from training.bundle.sources import NOTHING, Blocked, Offer, Source, User

DEPTH: Final = 2
SHALLOWEST: Final = 60
"""A source's ranks reach `DEPTH` times its budget, at least so far: known beyond what it may propose, then NaN."""

MAX_CANDIDATES: Final = 300

_TENTH: Final = 9


@dataclass(frozen=True, eq=False)
class Candidates:
    """One user's candidates.

    Attributes
    ----------
    items
        int32 (n,), internal indices, ascending.
    ranks
        float32 (n, n_sources), rank from 1 within each source, NaN where unknown.
    relative
        float32 (n, n_sources), score over the score of the source's tenth item, NaN where unknown.
    """

    items: npt.NDArray[np.int32]
    ranks: npt.NDArray[np.float32]
    relative: npt.NDArray[np.float32]


def retrieve(
    sources: Sequence[Source], budgets: Sequence[int], user: User, view: ItemView, blocked: Blocked
) -> Candidates:
    """Return the union of the first `budget` items of each source, at most `MAX_CANDIDATES`."""
    offers = [
        source.offer(user, view, blocked, max(DEPTH * budget, SHALLOWEST)) if budget else NOTHING
        for source, budget in zip(sources, budgets, strict=True)
    ]
    proposed = [offer.items[:budget] for offer, budget in zip(offers, budgets, strict=True)]
    items = np.unique(np.concatenate(proposed)) if proposed else np.empty(0, np.int32)
    candidates = align(items.astype(np.int32), offers, len(blocked))
    if len(items) <= MAX_CANDIDATES:
        return candidates
    top = np.sort(np.argsort(np.nanmin(candidates.ranks, axis=1), kind="stable")[:MAX_CANDIDATES])
    return Candidates(candidates.items[top], candidates.ranks[top], candidates.relative[top])


def align(items: npt.NDArray[np.int32], offers: Sequence[Offer], n_items: int) -> Candidates:
    """Return ranks and relative scores of the given items (ascending, of `n_items`) in each of the offers."""
    ranks = np.full((len(items), len(offers)), np.nan, dtype=np.float32)
    relative = np.full((len(items), len(offers)), np.nan, dtype=np.float32)
    place = np.full(n_items, MISSING, dtype=np.int32)
    place[items] = np.arange(len(items), dtype=np.int32)
    for column, offer in enumerate(offers):
        position = place[offer.items]
        inside = np.flatnonzero(position != MISSING)
        rows = position[inside]
        ranks[rows, column] = inside + 1
        relative[rows, column] = _relative(offer.scores)[inside]
    return Candidates(items, ranks, relative)


def _relative(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return scores over the tenth of them (the last, where there are fewer); comparable between users and fits."""
    if not len(scores):
        return scores
    yardstick = abs(float(scores[min(_TENTH, len(scores) - 1)]))
    return scores / max(yardstick, 1e-9)


def best_sources(ranks: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """Return the source that ranks each candidate best, int8 (n,); -1 where no source knows it."""
    known = ~np.isnan(ranks)
    source = np.argmin(np.where(known, ranks, np.inf), axis=1)
    return np.where(known.any(axis=1), source, MISSING).astype(np.int8)
