"""Which texts are nearest, by matrix products, and whatever the number of threads."""

import faiss
import numpy as np
import pytest

from training.bundle.tables import MAX_NEIGHBOURS, NeighbourTable
from training.texts import nearest_texts

N_ITEMS = 1_200
"""More than are searched for at once, by a rest."""


@pytest.fixture
def vectors() -> np.ndarray:
    """Return unit vectors in half floats, of which every seventh is of no text."""
    made = np.random.default_rng(0).normal(size=(N_ITEMS, 24))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    made[::7] = 0
    return made.astype(np.float16)


def test_all_pairs_are_compared(vectors: np.ndarray) -> None:
    table = nearest_texts(vectors)
    whole = vectors.astype(np.float64)
    alike = whole @ whole.T
    for item in (1, 510, 512, N_ITEMS - 1):
        others = np.flatnonzero(whole.any(axis=1) & (np.arange(N_ITEMS) != item))
        expected = others[np.argsort(-alike[item, others])[:MAX_NEIGHBOURS]]
        assert set(row_of(table, item)) == set(expected.tolist())
    assert row_of(table, 7) == []


def test_the_number_of_threads_changes_nothing(vectors: np.ndarray) -> None:
    threads, blas = faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold
    tables = []
    try:
        for some in (1, 2, 3):
            faiss.omp_set_num_threads(some)
            tables.append(nearest_texts(vectors))
            assert faiss.omp_get_max_threads() == some
    finally:
        faiss.omp_set_num_threads(threads)
    for other in tables[1:]:
        np.testing.assert_array_equal(other.index, tables[0].index)
        np.testing.assert_array_equal(other.value, tables[0].value)
    assert blas == faiss.cvar.distance_compute_blas_threshold


def row_of(table: NeighbourTable, item: int) -> list[int]:
    """Return an item's neighbours."""
    return [int(one) for one in table.index[table.offsets[item] : table.offsets[item + 1]]]
