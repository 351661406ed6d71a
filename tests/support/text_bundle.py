"""A real bundle whose items have texts: few items of a few kinds, which texts and users tell apart alike."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse

from features.contracts.facts import ItemFacts
from features.contracts.ids import IdMap
from features.contracts.ragged import offsets_of
from features.contracts.statistics import BUCKET_US, DAY_US, StatisticsState
from features.contracts.weights import ActionWeights
from features.items import Categories
from features.text.documents import Document
from features.text.encoder import Encoder
from features.text.search import TextIndex
from tests.support.statistic_events import liked
from tests.support.tiny_bundle import CLOSED_AT_US
from training.bundle.content import Content, mapped, usual_of
from training.bundle.foldin import FoldIn
from training.bundle.parts import TABLES, Parts
from training.bundle.plan import FreshPlan, Plan, default_budgets
from training.bundle.sources import CONTENT
from training.bundle.tables import NeighbourTable
from training.bundle.write import write_bundle
from training.index import build_index
from training.texts import nearest_texts

N_FACTORS = 8
ALS = "als"
BEHIND_17 = FreshPlan(slope=340.0, offset=math.log(17.5) + 340 * 3 / 61, joins=True)
"""An arrival that is first by its map, its promise and nearest texts stands behind the 17 nearest factors."""


def write_text_bundle(folder: Path, encoder: Encoder, documents: Mapping[str, Document], until_us: int) -> str:
    """Write a bundle of items whose users like one category each, and return its digest.

    Parameters
    ----------
    documents
        By item; the first category of each is its kind.
    until_us
        Texts embedded since then are newer.
    """
    rng, n_items = np.random.default_rng(0), len(documents)
    names = tuple(sorted({document.categories[0] for document in documents.values()}))
    kind = np.array([names.index(document.categories[0]) for document in documents.values()], dtype=np.int32)
    factors = (np.eye(N_FACTORS)[kind] + 0.05 * rng.normal(size=(n_items, N_FACTORS))).astype(np.float32)
    embedded = encoder.embed(list(documents.values()))
    vectors = embedded.vectors.astype(np.float16)
    known: npt.NDArray[np.float64] = np.column_stack((embedded.vectors, np.ones(n_items))).astype(np.float64)
    mapping = np.linalg.solve(
        known.T @ known + 0.1 * np.eye(known.shape[1]), known.T @ np.column_stack((factors, np.zeros(len(factors))))
    ).astype(np.float32)
    state = StatisticsState.empty(n_items)
    state.add(liked(rng.integers(n_items, size=300).astype(np.int32), CLOSED_AT_US - DAY_US), BUCKET_US)
    index, index_info = build_index(factors, factors)
    alike = NeighbourTable.from_matrix(sparse.csr_matrix(np.clip(factors @ factors.T, 0, None)))
    parts = Parts(
        items=IdMap(list(documents)),
        fold_in=FoldIn(factors, (factors.T @ factors + 0.1 * np.eye(N_FACTORS)).astype(np.float32), 10.0),
        index=index,
        index_info=index_info,
        tables={**dict.fromkeys(TABLES, alike), CONTENT: nearest_texts(vectors)},
        categories=Categories(names, offsets_of(np.ones(n_items, dtype=np.int64)), kind),
        facts=ItemFacts.unknown(n_items),
        state=state,
        closed_at_us=CLOSED_AT_US,
        ranker=None,
        plan=Plan(default_budgets(), order_by=ALS, fresh=BEHIND_17),
        weights=ActionWeights(),
        trained_until_us=CLOSED_AT_US,
        bucket_us=BUCKET_US,
        has_clock=True,
        n_users=10,
        n_interactions=300,
        content=Content(
            encoder.digest,
            vectors,
            mapping,
            usual_of(mapped(vectors, mapping)),
            until_us,
            TextIndex.build(vectors, embedded.terms),
        ),
    )
    return write_bundle(folder, parts, created_at=datetime(2026, 1, 1, tzinfo=UTC), code_version="test", seed=0)
