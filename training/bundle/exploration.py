"""Exploration: places of a list that go to items without a history, so that they get the chance of one."""

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]


def places_of(share: float, k: int) -> int:
    """Return how many of k places a share of them is, rounded up."""
    return int(np.ceil(share * k - 1e-9))


def with_fresh(order: Places, scores: npt.NDArray[np.float64], fresh: npt.NDArray[np.bool_], share: float) -> Places:
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
    best = np.argsort(-scores, kind="stable")
    others = best[fresh[best] & ~np.isin(best, order)]
    missing = others[: max(places_of(share, len(order)) - int(fresh[order].sum()), 0)]
    if not len(missing):
        return order
    last = np.flatnonzero(~fresh[order])[-len(missing) :]
    return spread(np.delete(order, last), missing[: len(last)])


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
