"""Neighbour tables: for each item the items that go with it, as a sparse matrix that a bundle can map from disk."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from features.compiled import read_only
from features.contracts.ragged import offsets_of, places
from training.bundle import loops

MAX_NEIGHBOURS: Final = 64


@dataclass(frozen=True, eq=False)
class NeighbourTable:
    """Weighted neighbours of each item, CSR: item i goes with index[offsets[i]:offsets[i + 1]].

    `offsets` is int64 (n_items + 1,), `index` int32 internal indices, `value` float16 weights, best first in a row.
    """

    offsets: npt.NDArray[np.int64]
    index: npt.NDArray[np.int32]
    value: npt.NDArray[np.float16]

    @classmethod
    def none(cls, n_items: int) -> "NeighbourTable":
        """Return the table in which nothing goes with anything."""
        return cls(np.zeros(n_items + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float16))

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

    def best(
        self,
        items: npt.NDArray[np.int32],
        strength: npt.NDArray[np.float64],
        blocked: npt.NDArray[np.bool_],
        limit: int,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Return up to `limit` items, not blocked ones, with the largest sum of strength times weight, best first.

        Parameters
        ----------
        items, strength
            Whose neighbours count, each how much; parallel arrays.
        blocked
            bool (n_items,).
        """
        sums = loops.scratch(len(self.offsets) - 1).sums
        return loops.best_neighbours(items, strength, self.entries, blocked, sums, limit)

    def affinities(
        self,
        items: npt.NDArray[np.int32],
        owners: npt.NDArray[np.int32],
        windows: tuple[int, ...],
        columns: npt.NDArray[np.float32],
    ) -> None:
        """Write into float32 (n_items, len(windows) + 2) how items go with owners; see `loops.affinity_columns`."""
        place = loops.scratch(len(self.offsets) - 1).place
        loops.affinity_columns(items, owners, self.entries, windows, place, columns)

    def strongest_owners(self, items: npt.NDArray[np.int32], owners: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Return for each item the owner of whose neighbours it is the heaviest, `MISSING` where it is nobody's."""
        return loops.strongest_owners(items, owners, self.entries, loops.scratch(len(self.offsets) - 1).place)

    @cached_property
    def entries(self) -> loops.Table:
        """Return the table as compiled loops read it."""
        bits = read_only(self.value).view(np.uint16)
        return loops.Table(read_only(self.offsets), read_only(self.index), bits, loops.HALVES)


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
