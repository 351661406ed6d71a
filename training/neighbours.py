"""Neighbour tables from co-occurrence: what goes together, and EASE."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse

from training.bundle.tables import MAX_NEIGHBOURS, NeighbourTable, heaviest

SHRINK: Final = 20.0
"""Added to the norms of a cosine: pairs seen a few times only are worth little."""
EASE_MAX_ITEMS: Final = 4_000
"""Most liked items that EASE covers: its matrix is dense, and its inverse costs n cubed."""
EASE_NEIGHBOURS: Final = 256
BLOCK: Final = 8e6
"""Pairs of events of one user that are counted at a time: about 100 MB."""
MIRRORED: Final = 512
"""Rows of a triangle that are mirrored at a time: their squares of 1 MB stay in a cache."""


def similar_table(confidence: sparse.csr_matrix) -> NeighbourTable:
    """Return items by shrunk cosine over the users who liked both, from a users x items matrix."""
    liked = _binary(confidence)
    by_item = liked.T.tocsr()
    norm = np.sqrt(np.asarray(liked.sum(axis=0)).ravel())
    kept = []
    for start, end in _blocks(by_item @ np.diff(liked.indptr)):
        together = by_item[start:end] @ liked
        row = np.repeat(np.arange(start, end), np.diff(together.indptr))
        together.data /= norm[row] * norm[together.indices] + SHRINK
        kept.append(heaviest(together, MAX_NEIGHBOURS + 1))  # an item is its own best neighbour, and not kept
    return NeighbourTable.from_matrix(sparse.vstack(kept, format="csr"))


def ease_table(confidence: sparse.csr_matrix, regularization: float) -> NeighbourTable:
    """Return EASE's item weights over the most liked items (Steck, WWW 2019), the largest of each row by magnitude.

    Row i holds what liking item i adds to each other item.
    """
    liked = _binary(confidence)
    count = np.asarray(liked.sum(axis=0)).ravel()
    chosen = np.sort(np.argsort(-count, kind="stable")[:EASE_MAX_ITEMS])
    chosen = chosen[count[chosen] > 0]
    if not len(chosen):
        return NeighbourTable.none(confidence.shape[1])
    weights = _ease(liked[:, chosen], regularization)
    limit = min(EASE_NEIGHBOURS, len(chosen))
    top = np.argpartition(-np.abs(weights), limit - 1, axis=1)[:, :limit]
    value = np.take_along_axis(weights, top, axis=1)
    row = np.repeat(chosen, limit)
    shape = (confidence.shape[1], confidence.shape[1])
    matrix = sparse.coo_matrix((value.ravel(), (row, chosen[top.ravel()])), shape=shape)
    return NeighbourTable.from_matrix(matrix, EASE_NEIGHBOURS, signed=True)


def _ease(liked: sparse.csr_matrix, regularization: float) -> npt.NDArray[np.float32]:
    gram = (liked.T @ liked).toarray().astype(np.float32)
    gram[np.diag_indices_from(gram)] += regularization
    factor, _ = linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    inverse, info = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    if info:
        raise linalg.LinAlgError(f"EASE: the Gram matrix of {len(gram)} items cannot be inverted (spotri: {info})")
    mirror(inverse)
    weights: npt.NDArray[np.float32] = inverse
    weights /= -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


def mirror(lower: npt.NDArray[np.float32]) -> None:
    """Write the lower triangle of a square matrix into the upper one, in pieces that fit a cache."""
    for start in range(0, len(lower), MIRRORED):
        some = slice(start, start + MIRRORED)
        lower[:start, some] = lower[some, :start].T
        lower[some, some] = np.tril(lower[some, some]) + np.tril(lower[some, some], -1).T


def _blocks(cost: npt.NDArray[np.floating]) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows that cost at most `BLOCK` together, or one row that alone costs more."""
    start, spent = 0, 0.0
    for row, price in enumerate(cost.tolist()):
        if row > start and spent + price > BLOCK:
            yield start, row
            start, spent = row, 0.0
        spent += price
    yield start, len(cost)


def _binary(confidence: sparse.csr_matrix) -> sparse.csr_matrix:
    liked = confidence.tocsr(copy=True)
    liked.data = np.ones_like(liked.data, dtype=np.float32)
    return liked
