"""Neighbour table from the catalogue: items of the same categories, the rarer the category the nearer."""

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from features.items import Categories
from training.bundle.tables import MAX_NEIGHBOURS, NeighbourTable

MAX_ITEMS: Final = 20_000
"""Most liked items that are neighbours of others: few would be proposed beyond them."""
_BLOCK: Final = 512


def category_table(categories: Categories, count: npt.NDArray[np.int64]) -> NeighbourTable:
    """Return items by cosine of their categories, weighted by rarity among liked items, times a little popularity.

    Parameters
    ----------
    categories
        Of all items.
    count
        int64 (n_items,), liking events of each item: among items alike in category the more liked come first.
    """
    n_items, n_categories = len(count), len(categories.names)
    if not len(categories.index):
        return NeighbourTable.from_matrix(sparse.csr_matrix((n_items, n_items), dtype=np.float32))
    is_liked = np.repeat(count > 0, np.diff(categories.offsets))
    of_category = np.bincount(categories.index[is_liked], minlength=n_categories)
    rarity = np.log1p(np.count_nonzero(count) / (1 + of_category)).astype(np.float32)
    shape = (n_items, n_categories)
    rows = sparse.csr_matrix((rarity[categories.index], categories.index, categories.offsets), shape=shape)
    norm = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    rows = sparse.diags_array(1 / np.maximum(norm, 1e-12)).tocsr() @ rows
    liked = np.sort(np.argsort(-count, kind="stable")[:MAX_ITEMS])
    appeal = np.log1p(count[liked]) / max(np.log1p(count.max(initial=0)), 1e-12)
    columns = (sparse.diags_array(appeal.astype(np.float32)).tocsr() @ rows[liked]).T.tocsr()
    first, same = _distinct(rows)
    distinct = rows[first]
    kept = [_heaviest(distinct[start : start + _BLOCK] @ columns) for start in range(0, len(first), _BLOCK)]
    column, value = (np.concatenate(part)[same] for part in zip(*kept, strict=True))
    row = np.repeat(np.arange(n_items), column.shape[1])
    matrix = sparse.coo_matrix((value.ravel(), (row, liked[column].ravel())), shape=(n_items, n_items))
    return NeighbourTable.from_matrix(matrix)


def _distinct(rows: sparse.csr_matrix) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first row with each set of columns, and which of these sets each row has.

    Items have few sets of categories: what is near is looked for once for each set.
    """
    rows.sort_indices()
    ends = rows.indptr.tolist()
    number: dict[bytes, int] = {}
    first: list[int] = []
    same = np.empty(rows.shape[0], dtype=np.int64)
    for row in range(rows.shape[0]):
        found = number.setdefault(rows.indices[ends[row] : ends[row + 1]].tobytes(), len(first))
        if found == len(first):
            first.append(row)
        same[row] = found
    return np.array(first, dtype=np.int64), same


def _heaviest(block: sparse.csr_matrix) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return column and value of the largest entries of each row of a block, (n_rows, n_kept)."""
    dense = block.toarray()
    limit = min(MAX_NEIGHBOURS + 1, dense.shape[1])  # an item is its own best neighbour, and not kept
    column = np.argpartition(-dense, limit - 1, axis=1)[:, :limit]
    return column, np.take_along_axis(dense, column, axis=1)
