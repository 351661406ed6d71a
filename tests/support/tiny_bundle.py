"""A real bundle of a few items, written in milliseconds: what tests publish, load and refuse."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy import sparse

from features.contracts.facts import ItemFacts
from features.contracts.ids import IdMap
from features.contracts.statistics import BUCKET_US, DAY_US, StatisticsState
from features.contracts.weights import ActionWeights
from features.items import Categories
from tests.support.statistic_events import liked
from training.bundle.foldin import FoldIn
from training.bundle.parts import TABLES, Parts
from training.bundle.plan import BLEND, Plan, default_budgets
from training.bundle.tables import NeighbourTable
from training.bundle.write import write_bundle
from training.index import build_index

CLOSED_AT_US = 20_000 * DAY_US


def write_tiny_bundle(
    folder: Path, seed: int = 0, n_items: int = 30, trained_until_us: int = CLOSED_AT_US, prefix: str = "i"
) -> str:
    """Write a bundle of items i0..i29 that blends its sources, and return its digest."""
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((n_items, 8)).astype(np.float32)
    state = StatisticsState.empty(n_items)
    events = rng.integers(n_items, size=200).astype(np.int32)
    state.add(liked(events, CLOSED_AT_US - DAY_US), BUCKET_US)
    table = NeighbourTable.from_matrix(sparse.csr_matrix(np.clip(factors @ factors.T, 0, None)))
    index, index_info = build_index(factors, factors)
    parts = Parts(
        items=IdMap([f"{prefix}{number}" for number in range(n_items)]),
        fold_in=FoldIn(factors, (factors.T @ factors + np.eye(8)).astype(np.float32), 10.0),
        index=index,
        index_info=index_info,
        tables=dict.fromkeys(TABLES, table),
        categories=Categories((), np.zeros(n_items + 1, np.int64), np.empty(0, np.int32)),
        facts=ItemFacts.unknown(n_items),
        state=state,
        closed_at_us=CLOSED_AT_US,
        ranker=None,
        plan=Plan(default_budgets(), order_by=BLEND),
        weights=ActionWeights(),
        trained_until_us=trained_until_us,
        bucket_us=BUCKET_US,
        has_clock=True,
        n_users=10,
        n_interactions=200,
    )
    created_at = datetime(2026, 1, 1, tzinfo=UTC)
    return write_bundle(folder, parts, created_at=created_at, code_version="test", seed=seed)
