"""What training rows looked like, in bins: the distribution that served rows are held against."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

BINS: Final = 10
"""Bins of a column, each with about as many of its values, beside the bin of what is unknown."""


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the values of one column are spread.

    Attributes
    ----------
    edges
        Ascending; a value belongs to the first bin whose edge is not below it, beyond the last edge to one more.
    shares
        Of all values, by bin; the last one is of NaN.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the rows of a ranker's latest training slice were spread.

    Attributes
    ----------
    lists, rows
        Users at moments, and all their candidates.
    features
        By name.
    scores
        Of the ranker that serves, by all of its trees, where possible of lists of which it did not learn.
    """

    lists: int
    rows: int
    features: dict[str, Column]
    scores: Column


def column_of(values: Floats) -> Column:
    """Return how some values (n,) are spread, n > 0: over quantile bins, or by value where there are few.

    >>> column_of(np.array([0.0, 1.0, 0.0, np.nan]))
    Column(edges=(0.0,), shares=(0.5, 0.25, 0.25))
    """
    edges = _edges(np.sort(values[~np.isnan(values)]))
    return Column(tuple(edges.tolist()), tuple(shares_of(values, edges).tolist()))


def shares_of(values: Floats, edges: Sequence[float] | Floats) -> npt.NDArray[np.float64]:
    """Return the share of some values (n,) in each bin and, last, of NaN: float64 (len(edges) + 2,)."""
    unknown = np.isnan(values)
    place = np.searchsorted(np.asarray(edges, dtype=np.float64), values[~unknown], side="left")
    counts = np.append(np.bincount(place, minlength=len(edges) + 1), np.count_nonzero(unknown))
    return np.asarray(counts / max(len(values), 1), dtype=np.float64)


def reference_of(rows: npt.NDArray[np.float32], scores: Floats, names: Sequence[str], lists: int) -> Reference:
    """Return how rows (n, n_features) and some scores (m,) are spread, n and m > 0."""
    features = {name: column_of(rows[:, place]) for place, name in enumerate(names)}
    return Reference(lists, len(rows), features, column_of(scores))


def _edges(ordered: Floats) -> npt.NDArray[np.float64]:
    """Return the inner edges of bins over ascending values without NaN; the largest value is never one of them.

    An edge at the largest value would leave nothing beyond it: what becomes rarer there would not be seen.
    """
    if not len(ordered):
        return np.empty(0)
    starts = np.flatnonzero(np.diff(ordered, prepend=-np.inf) != 0)
    if len(starts) <= BINS:
        return ordered[starts[:-1]].astype(np.float64)
    inner = (np.arange(1, BINS) * len(ordered)) // BINS
    below_largest = ordered[starts[-1] - 1]
    return np.unique(np.minimum(ordered[inner], below_largest)).astype(np.float64)
