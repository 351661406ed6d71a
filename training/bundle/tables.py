"""Neighbour tables: for each item the items that go with it, as a sparse matrix that a bundle can map from disk."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from features.contracts.ragged import entries_of, offsets_of, places

MAX_NEIGHBOURS: Final = 64

_DENSE_SHARE: Final = 100
"""Entries are summed in a dense array once there are more than n_items / 100 of them: it is quicker than sorting."""


@dataclass(frozen=True, eq=False)
class NeighbourTable:
    """Weighted neighbours of each item, CSR: item i goes with index[offsets[i]:offsets[i + 1]].

    `offsets` is int64 (n_items + 1,), `index` int32 internal indices, `value` float16 weights, best first in a row.
    """

    offsets: npt.NDArray[np.int64]
    index: npt.NDArray[np.int32]
    value: npt.NDArray[np.float16]

    @classmethod
    def from_matrix(
        cls, matrix: sparse.csr_matrix, limit: int = MAX_NEIGHBOURS, *, signed: bool = False
    ) -> "NeighbourTable":
        """Return the table of the largest `limit` positive entries of each row of an items x items matrix.

        With `signed` also negative entries stay, below all positive ones.
        """
        matrix = heaviest(matrix.tocsr(), limit + 1).tocoo()  # an item may be its own best neighbour
        keep = ((matrix.data != 0) if signed else (matrix.data > 0)) & (matrix.row != matrix.col)
        row, col, value = matrix.row[keep], matrix.col[keep].astype(np.int32), matrix.data[keep]
        order = np.lexsort((col, -value, row))
        row, col, value = row[order], col[order], value[order]
        count = np.bincount(row, minlength=matrix.shape[0])
        best = places(count) < limit
        return cls(offsets_of(np.minimum(count, limit)), col[best], value[best].astype(np.float16))

    def rows(
        self, items: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return the neighbours of some items end to end: position of the owner in `items`, neighbour, weight."""
        owner, entries = entries_of(self.offsets, items)
        return owner, self.index[entries], self.value[entries].astype(np.float32)

    def score(
        self, items: npt.NDArray[np.int32], weight: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Return all items that go with weighted items and the sums of their weights, by index ascending."""
        owner, neighbour, value = self.rows(items)
        return self.sums(neighbour, value * weight[owner])

    def sums(
        self, neighbour: npt.NDArray[np.int32], value: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Return the items whose values add up to more than 0, by index ascending, and their sums."""
        n_items = len(self.offsets) - 1
        if len(neighbour) * _DENSE_SHARE > n_items:
            sums = np.asarray(np.bincount(neighbour, value, n_items), dtype=np.float64)
            found = np.flatnonzero(sums > 0).astype(np.int32)
            return found, sums[found]
        found, position = np.unique(neighbour, return_inverse=True)
        sums = np.asarray(np.bincount(position, value, len(found)), dtype=np.float64)
        return found[sums > 0], sums[sums > 0]


def heaviest(matrix: sparse.csr_matrix, limit: int) -> sparse.csr_matrix:
    """Return the matrix without what is smaller than the `limit`-th largest stored entry of its row."""
    long = np.flatnonzero(np.diff(matrix.indptr) > limit)
    if not len(long):
        return matrix
    least = np.full(matrix.shape[0], -np.inf, dtype=matrix.data.dtype)
    for row in long.tolist():
        entries = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]
        least[row] = np.partition(entries, -limit)[-limit]
    owner = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    keep = matrix.data >= least[owner]
    return sparse.csr_matrix((matrix.data[keep], (owner[keep], matrix.indices[keep])), matrix.shape)
