"""Exploration: places of a list that go to items without a history, so that they get the chance of one.

Which of them get it is what texts promise, or in part a lot: then each may come, and how likely it was is known.
"""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class Draw:
    """What the lot says of one list, before anything is known of its order.

    Attributes
    ----------
    share
        How likely it is for a place that it is drawn.
    drawn
        bool (n_places,), which of the places for exploration are.
    items
        int32 (n,), different items in the order in which they are drawn; as many as a list may need.
    n_items
        Among how many items.
    """

    share: float
    drawn: Booleans
    items: npt.NDArray[np.int32]
    n_items: int


def draw_of(pool: npt.NDArray[np.int32], k: int, n_places: int, share: float, seed: str) -> Draw:
    """Return what the lot says of a list of k places; the same for the same seed.

    Parameters
    ----------
    pool
        The items that may be drawn.
    n_places
        Places for exploration, at most.
    """
    lot = np.random.default_rng(int.from_bytes(blake2b(seed.encode(errors="surrogatepass"), digest_size=16).digest()))
    drawn = lot.random(n_places) < share
    # Passed over is what stands in the list already, k items at most.
    needed = min(k + n_places, len(pool)) if drawn.any() else 0
    return Draw(share, drawn, pool[lot.choice(len(pool), needed, replace=False)], len(pool))


def places_of(share: float, k: int) -> int:
    """Return how many of k places a share of them is, rounded up."""
    return int(np.ceil(share * k - 1e-9))


def with_fresh(order: Places, scores: Doubles, fresh: Booleans, share: float) -> Places:
    """Return a list of the same length in which at least a share of the places, rounded up, goes to fresh candidates.

    Those that are missing are the fresh candidates of the best scores; they stand evenly spaced, and what makes room
    for them is what stood last and is not fresh.

    Parameters
    ----------
    order
        Places of the list among the candidates, best first.
    scores, fresh
        (n_candidates,): what candidates are ordered by, and which are fresh.
    share
        0 to 1.

    >>> with_fresh(np.array([0, 1, 2, 3]), np.array([5.0, 4, 3, 2, 1]), np.array([0, 0, 0, 0, 1], bool), 0.25)
    array([0, 1, 4, 2])
    """
    return _with(order, _others(order, scores, fresh)[: _missing(order, fresh, share)], fresh)


def with_drawn(
    order: Places,
    items: npt.NDArray[np.int32],
    scores: Doubles,
    *,
    fresh: Booleans,
    proposed: Booleans,
    share: float,
    draw: Draw,
) -> tuple[Places, Doubles]:
    """Return a list as `with_fresh` has it, in which some of the fresh ones are drawn, and how likely each was.

    A place is drawn with the chance `draw.share`, any item that the list lacks as likely as the others; else it goes to
    the best that the list lacks. How likely an item was for its place, given those before it, is float64 (n_list,), NaN
    for what stands there by its score.

    Parameters
    ----------
    items
        int32 (n_candidates,), ascending; those of the draw are among them.
    proposed
        bool (n_candidates,), which candidates are there without the draw: the best is one of these, whatever is drawn.
    """
    of_draw = np.searchsorted(items, draw.items).tolist()
    best = _others(order, scores, fresh & proposed).tolist()
    taken = set(order[fresh[order]].tolist())
    chance = np.full(len(items), np.nan)
    picked: list[int] = []
    for drawn in draw.drawn[: _missing(order, fresh, share)].tolist():
        if len(taken) == draw.n_items:
            break
        first = next((at for at in best if at not in taken), None)
        own = first if not drawn else next((at for at in of_draw if at not in taken), None)
        if own is None:
            continue
        chance[own] = draw.share / (draw.n_items - len(taken)) + (1 - draw.share) * (own == first)
        taken.add(own)
        picked.append(own)
    found = _with(order, np.array(picked, dtype=np.int64), fresh)
    return found, chance[found]


def _missing(order: Places, fresh: Booleans, share: float) -> int:
    """Return how many places more are to go to fresh candidates, and can."""
    n_fresh = int(fresh[order].sum())
    return min(max(places_of(share, len(order)) - n_fresh, 0), len(order) - n_fresh)


def _others(order: Places, scores: Doubles, fresh: Booleans) -> Places:
    """Return the fresh candidates that a list lacks, best first."""
    best = np.argsort(-scores, kind="stable")
    return np.asarray(best[fresh[best] & ~np.isin(best, order)])


def _with(order: Places, more: Places, fresh: Booleans) -> Places:
    """Return a list in which further candidates stand evenly spaced instead of the last that are not fresh."""
    if not len(more):
        return order
    last = np.flatnonzero(~fresh[order])[-len(more) :]
    return spread(np.delete(order, last), more)


def spread(order: Places, more: Places) -> Places:
    """Return a list into which further places are put, evenly spaced and none of them first if there are others."""
    if not len(order):
        return more
    size = len(order) + len(more)
    at = np.ceil(np.arange(1, len(more) + 1) * size / (len(more) + 1)).astype(np.int64)
    merged = np.empty(size, dtype=np.int64)
    own = np.ones(size, dtype=bool)
    own[np.minimum(at, size - 1)] = False
    merged[own], merged[~own] = order, more
    return merged
