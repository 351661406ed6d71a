"""The FAISS index over item factors: all are looked at, or a graph whose recall is measured with vectors of users."""

from typing import Final

import faiss
import numpy as np
import numpy.typing as npt
from scipy import sparse

from training.bundle.foldin import FoldIn
from training.bundle.manifest import IndexInfo

EXACT_LIMIT: Final = 30_000
"""Items up to which search is exact; DECISIONS.md."""
HALVES_LIMIT: Final = 100_000
"""Items up to which all are looked at, in half precision; above it a graph is quicker."""
SEARCH_WIDTHS: Final = (128, 256, 512)
"""HNSW's efSearch: the first that finds enough is taken, else the last."""
ENOUGH: Final = 0.95
"""Recall at which a graph's search is wide enough."""
WANTED: Final = 200
"""Best items that have to be among as many found."""
_QUERIES: Final = 100

Floats = npt.NDArray[np.float32]


def build_index(
    factors: Floats, queries: Floats, exact_limit: int = EXACT_LIMIT, halves_limit: int = HALVES_LIMIT
) -> tuple[faiss.Index, IndexInfo]:
    """Return an index over item factors (n_items, n_factors) and its kind with its recall.

    Exact up to `exact_limit` items, and up to `halves_limit` but for factors of half precision; above it an HNSW graph,
    searched as widely as the queries, vectors of users (n_queries, n_factors), need.
    """
    n_items, n_factors = factors.shape
    exact = faiss.IndexFlatIP(n_factors)
    exact.add(factors)
    if n_items <= exact_limit:
        return exact, IndexInfo("flat", 1.0)
    if n_items <= halves_limit:
        halves = faiss.IndexScalarQuantizer(n_factors, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        halves.add(factors)
        return halves, IndexInfo("fp16", _recall(halves, exact, queries))
    graph = faiss.IndexHNSWFlat(n_factors, 32, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = 80
    _add_in_order(graph, factors)
    recall = 0.0
    for width in SEARCH_WIDTHS:
        graph.hnsw.efSearch = width
        recall = _recall(graph, exact, queries)
        if recall >= ENOUGH:
            break
    return graph, IndexInfo("hnsw32", recall)


def user_vectors(fold_in: FoldIn, confidence: sparse.csr_matrix, seed: int) -> Floats:
    """Return the vectors of some users of a matrix (n_users, n_items) that hold anything: float32 (n, n_factors)."""
    some = np.flatnonzero(np.diff(confidence.indptr))
    chosen = np.random.default_rng(seed).permutation(some)[:_QUERIES]
    vectors = []
    for user in chosen.tolist():
        row = slice(confidence.indptr[user], confidence.indptr[user + 1])
        vector = fold_in.vector(confidence.indices[row].astype(np.int32), confidence.data[row].astype(np.float32))
        vectors += [] if vector is None else [vector]
    return np.array(vectors, dtype=np.float32).reshape(-1, fold_in.factors.shape[1])


def _add_in_order(graph: faiss.IndexHNSWFlat, factors: Floats) -> None:
    """Add rows one after the other: by several threads the graph would differ from run to run."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        graph.add(factors)
    finally:
        faiss.omp_set_num_threads(threads)


def _recall(index: faiss.Index, exact: faiss.Index, queries: Floats) -> float:
    """Return the share of each query's best items that the index finds, asked for as many."""
    wanted, found = exact.search(queries, WANTED)[1], index.search(queries, WANTED)[1]
    return float(np.mean([len(np.intersect1d(f, w)) / WANTED for f, w in zip(found, wanted, strict=True)]))
