"""The parts that any two-stage recommender must do for a request, bare and alone: what a whole one is held against."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import faiss
import msgspec
import numpy as np
import psycopg
from threadpoolctl import threadpool_limits

from features.contracts.profiles import Options, UserHistory
from features.db.queries import async_queries
from features.settings import Settings
from features.store import history_of
from training.bundle.bundle import Bundle
from training.bundle.offered import SPEC

CANDIDATES: Final = 250
HISTORY: Final = 500


def bare_parts_ms(
    settings: Settings, bundle: Bundle, users: Sequence[str], answer: Mapping[str, Any]
) -> dict[str, float]:
    """Return the median time of each part in milliseconds, one after the other, on one core as servers have it.

    Parameters
    ----------
    bundle
        Whose index, factors and ranker these are; its ranker scores the rows of the candidates that it offers.
    users
        Whose histories are read, each once.
    answer
        What is turned into JSON.
    """
    histories, history_ms = asyncio.run(_histories(settings, users))
    profiles = bundle.encode(histories)
    view = bundle.recommender.view(bundle.statistics)
    offered = [bundle.recommender.candidates(profiles, user, view, Options()) for user in range(len(users))]
    table = np.random.default_rng(0).random((len(bundle.items), len(SPEC.names)), dtype=np.float32)

    def search(user: int) -> object:
        events = profiles.events(user)
        vector = bundle.parts.fold_in.vector(profiles.item[events], profiles.weight[events])
        return None if vector is None else bundle.parts.index.search(vector[None], CANDIDATES)

    with threadpool_limits(1):
        faiss.omp_set_num_threads(1)
        return {
            "history query": history_ms,
            "fold-in and search": _median_ms(search, len(users)),
            "feature gather": _median_ms(lambda user: table[offered[user][0].items], len(users)),
            "Booster.predict": _median_ms(lambda user: _predict(bundle, offered[user][1]), len(users)),
            "JSON": _median_ms(lambda _: msgspec.json.encode(answer), len(users)),
        }


async def _histories(settings: Settings, users: Sequence[str]) -> tuple[list[UserHistory], float]:
    """Return the history of each user, and the median time of a prepared query on an open connection."""
    found, took_s = list[UserHistory](), list[float]()
    url = settings.database_url.get_secret_value()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for user in users:
            started = time.perf_counter()
            asked = {"user_id": user, "at_most": HISTORY}
            cursor = await connection.execute(async_queries.user_history.sql, asked, prepare=True, binary=True)
            row = await cursor.fetchone()
            took_s.append(time.perf_counter() - started)
            found.append(history_of(user, row))
    return found, float(np.median(took_s)) * 1000


def _predict(bundle: Bundle, rows: np.ndarray) -> Any:
    ranker = bundle.parts.ranker
    return None if ranker is None else [model.predict(rows, num_threads=1) for model in ranker.models]


def _median_ms(work: Callable[[int], object], times: int) -> float:
    work(0)
    took_s = []
    for at in range(times):
        started = time.perf_counter()
        work(at)
        took_s.append(time.perf_counter() - started)
    return float(np.median(took_s)) * 1000
