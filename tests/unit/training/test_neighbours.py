import numpy as np
from scipy import sparse

from training.bundle.tables import NeighbourTable
from training.neighbours import MIRRORED, SHRINK, ease_table, mirror, similar_table


def dense(table: NeighbourTable) -> np.ndarray:
    n_items = len(table.offsets) - 1
    matrix = sparse.csr_matrix((table.value.astype(np.float64), table.index, table.offsets), shape=(n_items, n_items))
    return np.asarray(matrix.toarray())


def test_similar_is_a_shrunk_cosine() -> None:
    liked = sparse.csr_matrix(np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0]], np.float32))
    found = dense(similar_table(liked))
    expected = np.array([[0, 2 / (6**0.5 + SHRINK), 1 / (3**0.5 + SHRINK)], [0, 0, 1 / (2**0.5 + SHRINK)], [0, 0, 0]])
    np.testing.assert_allclose(found, expected + expected.T, rtol=1e-3)


def test_ease_equals_its_closed_form() -> None:
    rng = np.random.default_rng(0)
    liked = (rng.random((50, 12)) < 0.3).astype(np.float64)
    precision = np.linalg.inv(liked.T @ liked + 10 * np.eye(12))
    weights = precision / -np.diag(precision)
    np.fill_diagonal(weights, 0)
    found = dense(ease_table(sparse.csr_matrix(liked), 10.0))
    np.testing.assert_allclose(found, weights, rtol=2e-3, atol=1e-4)


def test_nothing_goes_with_anything_where_nobody_liked_anything() -> None:
    assert ease_table(sparse.csr_matrix((50, 12), dtype=np.float32), 10.0).offsets.tolist() == [0] * 13


def test_a_lower_triangle_is_mirrored_through_all_pieces() -> None:
    numbers = np.random.default_rng(0).random((2 * MIRRORED + 3, 2 * MIRRORED + 3)).astype(np.float32)
    found = numbers.copy()
    mirror(found)
    np.testing.assert_array_equal(found, np.tril(numbers) + np.tril(numbers, -1).T)


def test_a_table_keeps_the_largest_of_each_row_and_never_the_item_itself() -> None:
    matrix = sparse.csr_matrix(np.array([[9.0, 1, 3, 2], [0, 9, 0, -1], [0, 0, 9, 0], [1, 1, 1, 9]]))
    table = NeighbourTable.from_matrix(matrix, 2)
    assert table.offsets.tolist() == [0, 2, 2, 2, 4]
    assert table.index.tolist() == [2, 3, 0, 1]
