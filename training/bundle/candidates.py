"""From offers to one user's candidates: the union of what all sources offer, with rank and relative score of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from features.contracts.ragged import offsets_of
from features.items import ItemView
from training.bundle import loops
from training.bundle.sources import NOTHING, Blocked, Offer, Source, User

DEPTH: Final = 2
SHALLOWEST: Final = 60
"""A source's ranks reach `DEPTH` times its budget, at least so far: known beyond what it may propose, then NaN."""

MAX_CANDIDATES: Final = 300

_TENTH: Final = 9
"""Place, from 0, of the item over whose score all of an offer are taken (the last where there are fewer)."""


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
    sources: Sequence[Source], budgets: Sequence[int], user: User, view: ItemView, blocked: Blocked, *, unmet: int = 0
) -> Candidates:
    """Return the union of the first `budget` items of each source, at most `MAX_CANDIDATES`: those of the best ranks.

    The best `unmet` of those that nobody has acted on are among them in any case.
    """
    offers = [
        source.offer(user, view, blocked, max(DEPTH * budget, SHALLOWEST)) if budget else NOTHING
        for source, budget in zip(sources, budgets, strict=True)
    ]
    joined, place = _joined(offers), loops.scratch(len(blocked)).place
    items = loops.proposed(joined.items, joined.bounds, np.array(budgets, dtype=np.int64), place)
    candidates = _aligned(items, joined, place)
    if len(items) <= MAX_CANDIDATES:
        return candidates
    order = np.argsort(np.nanmin(candidates.ranks, axis=1), kind="stable")
    if unmet:
        first = order[view.statistics.seen[items[order]] == 0][:unmet]
        order = np.concatenate((first, order[~np.isin(order, first)]))
    top = np.sort(order[: max(MAX_CANDIDATES, unmet)])
    return Candidates(candidates.items[top], candidates.ranks[top], candidates.relative[top])


def with_more(found: Candidates, items: npt.NDArray[np.int32]) -> Candidates:
    """Return candidates and further items, of which no source says anything; what is there already stays as it is."""
    more = np.setdiff1d(items, found.items)
    unknown = np.full((len(more), found.ranks.shape[1]), np.nan, dtype=np.float32)
    items = np.concatenate((found.items, more))
    order = np.argsort(items, kind="stable")
    ranks, relative = (np.concatenate((known, unknown))[order] for known in (found.ranks, found.relative))
    return Candidates(items[order], ranks, relative)


def align(items: npt.NDArray[np.int32], offers: Sequence[Offer], n_items: int) -> Candidates:
    """Return ranks and relative scores of the given items (ascending, of `n_items`) in each of the offers."""
    return _aligned(items, _joined(offers), loops.scratch(n_items).place)


@dataclass(frozen=True, eq=False, slots=True)
class _Joined:
    """Offers end to end: offer i stands at bounds[i]:bounds[i + 1]."""

    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float64]
    bounds: npt.NDArray[np.int64]


def _joined(offers: Sequence[Offer]) -> _Joined:
    return _Joined(
        np.concatenate([NOTHING.items, *(offer.items for offer in offers)]),
        np.concatenate([NOTHING.scores, *(offer.scores for offer in offers)]),
        offsets_of([len(offer.items) for offer in offers]),
    )


def _aligned(items: npt.NDArray[np.int32], offers: _Joined, place: npt.NDArray[np.int32]) -> Candidates:
    return Candidates(items, *loops.align_offers(items, offers.items, offers.scores, offers.bounds, place, _TENTH))


def best_sources(ranks: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """Return the source that ranks each candidate best, int8 (n,); -1 where no source knows it."""
    known = ~np.isnan(ranks)
    source = np.argmin(np.where(known, ranks, np.inf), axis=1)
    return np.where(known.any(axis=1), source, MISSING).astype(np.int8)
