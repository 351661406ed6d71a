"""Lists from a million items: how long they take over HTTP, and how many of the best items the search finds.

Items and users have tastes, and the factors are fitted to what these users did: what a search finds depends on the
vectors, and random ones say nothing of it. All else of the bundle is made up, as large as a trained one.
"""

import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import faiss
import msgspec
import numpy as np
import numpy.typing as npt
from scipy import sparse

from benchmarks.bundle_server import bundle_server
from benchmarks.http_load import load_of, post
from benchmarks.made_up import write_bundle_around
from benchmarks.record import record
from serving.bundle_cache import BundleCache, LastGood
from training.als import AlsConfig, fit_als
from training.index import SEARCH_WIDTHS, build_index, user_vectors

NAME: Final = "serving_million"
ITEMS: Final = 1_000_000
USERS: Final = 100_000
TASTES: Final = 1_000
TASTES_OF_A_USER: Final = 3
EVENTS_PER_USER: Final = 60
ITERATIONS: Final = 5
SEED: Final = 0
BEST: Final = 200
"""Items that an exact search finds first: which share of these the served search finds, asked for as many."""
HISTORY: Final = 30
REQUESTS: Final = 2_000
SECONDS: Final = 20.0

Floats = npt.NDArray[np.float32]


def run(n_items: int = ITEMS, n_users: int = USERS) -> None:
    """Fit factors, build the index as training does, serve it, and record what lists took and what was found."""
    histories = made_up_histories(n_items, n_users)
    began_s = time.perf_counter()
    fold_in = fit_als(histories, AlsConfig(iterations=ITERATIONS), seed=SEED)
    fitted_s = time.perf_counter()
    print(f"{NAME}: factors of {n_items:,} items in {fitted_s - began_s:.0f} s", flush=True)
    index, info = build_index(fold_in.factors, user_vectors(fold_in, histories, SEED))
    built_s = time.perf_counter()
    print(f"{NAME}: {info.kind} in {built_s - fitted_s:.0f} s", flush=True)
    figures: dict[str, Any] = {
        "items": n_items,
        "index": info.kind,
        "built_s": round(built_s - fitted_s),
        "width": index.hnsw.efSearch if isinstance(index, faiss.IndexHNSW) else None,
        "best": BEST,
        **_recalls(index, fold_in.factors, user_vectors(fold_in, histories, SEED + 1)),
    }
    with tempfile.TemporaryDirectory(prefix="marquee-million-") as name:
        cache = BundleCache(Path(name) / "bundles")
        with cache.incoming() as incoming:
            digest = write_bundle_around(incoming / "bundle", fold_in, index, info)
            cache.install(incoming / "bundle", digest)
        cache.remember(LastGood("1", digest, "made-up"))
        del index, fold_in
        figures |= _served(cache.folder, histories)
    print(f"{NAME}: {figures}", flush=True)
    record(NAME, figures)


def made_up_histories(n_items: int, n_users: int) -> sparse.csr_matrix:
    """Return users x items, float32: each user took items of a few tastes, the popular ones of each more often."""
    rng = np.random.default_rng(SEED)
    tastes = rng.integers(TASTES, size=(n_users, TASTES_OF_A_USER))
    user = np.repeat(np.arange(n_users), EVENTS_PER_USER)
    taste = tastes[user, rng.integers(TASTES_OF_A_USER, size=len(user))]
    place = (n_items // TASTES * rng.random(len(user)) ** 2).astype(np.int64)
    matrix = sparse.csr_matrix(
        (np.ones(len(user), np.float32), (user, place * TASTES + taste)), shape=(n_users, n_items)
    )
    matrix.data[:] = 1.0  # what somebody took twice
    return matrix


def _recalls(index: faiss.Index, factors: Floats, queries: Floats) -> dict[str, Any]:
    """Return the recall of the index as it is served and, where it is a graph, at each width that training knows."""
    found: dict[str, Any] = {"recall": recall(index, factors, queries)}
    if isinstance(index, faiss.IndexHNSW):
        served, found["recall_by_width"] = index.hnsw.efSearch, {}
        for index.hnsw.efSearch in SEARCH_WIDTHS:
            found["recall_by_width"][str(index.hnsw.efSearch)] = recall(index, factors, queries)
        index.hnsw.efSearch = served
    return found


def recall(index: faiss.Index, factors: Floats, queries: Floats) -> float:
    """Return which share of the `BEST` items by inner product a search for as many finds, mean over queries."""
    exact = faiss.IndexFlatIP(factors.shape[1])
    exact.add(factors)
    wanted, found = exact.search(queries, BEST)[1], index.search(queries, BEST)[1]
    return round(float(np.mean([len(np.intersect1d(f, w)) / BEST for f, w in zip(found, wanted, strict=True)])), 4)


def _served(cache: Path, histories: sparse.csr_matrix) -> dict[str, Any]:
    """Return the time until the bundle serves, and what lists took, one at a time and four at a time."""
    requests = [post("/api/v1/recommend", body) for body in _bodies(histories)]
    with bundle_server(cache, 1) as (_, client, start_s):
        port = client.base_url.port
        assert port is not None  # noqa: S101  # it was given
        load_of(port, requests, connections=1, seconds=SECONDS / 4)  # pages of the index come to memory
        loads = {n: asdict(load_of(port, requests, connections=n, seconds=SECONDS)) for n in (1, 4)}
    shown = {f"{n}_connections": {key: round(value, 2) for key, value in load.items()} for n, load in loads.items()}
    return {"start_s": round(start_s, 1), **shown}


def _bodies(histories: sparse.csr_matrix) -> list[bytes]:
    """Return requests of users without an id, who bring their histories along."""
    users = np.random.default_rng(SEED).choice(histories.shape[0], min(REQUESTS, histories.shape[0]), replace=False)
    rows = [histories.indices[histories.indptr[user] : histories.indptr[user + 1]][:HISTORY] for user in users.tolist()]
    bodies = [[{"item_id": f"item-{item}", "action": "like"} for item in row.tolist()] for row in rows]
    return [msgspec.json.encode({"history": body, "k": 20}) for body in bodies]


if __name__ == "__main__":
    run()
