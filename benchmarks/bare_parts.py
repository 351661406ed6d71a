"""The parts that any two-stage recommender must do for a request, bare and alone: what a whole one is held against."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
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
HISTORY_QUERY: Final = "history query"


@dataclass(frozen=True, slots=True)
class BareParts:
    """Median time of each part in milliseconds.

    Attributes
    ----------
    alone
        Each part over and over, for one user after the other: caches hold it, and the processor is awake.
    in_turn
        All parts for a user before those for the next: what a request would take that did nothing else.
    """

    alone: dict[str, float]
    in_turn: dict[str, float]


def bare_parts_ms(settings: Settings, bundle: Bundle, users: Sequence[str], answer: Mapping[str, Any]) -> BareParts:
    """Return what the parts take, on one core as servers have it.

    Parameters
    ----------
    bundle
        Whose index, factors and ranker these are; its ranker scores the rows of the candidates that it offers.
    users
        Whose histories are read, each once: those of the first half alone, of the second in turn with the other parts.
    answer
        What is turned into JSON.
    """
    return asyncio.run(_measured(settings, bundle, users, answer))


async def _measured(settings: Settings, bundle: Bundle, users: Sequence[str], answer: Mapping[str, Any]) -> BareParts:
    url = settings.database_url.get_secret_value()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:

        async def history(user: int) -> UserHistory:
            asked = {"user_id": users[user], "at_most": HISTORY}
            cursor = await connection.execute(async_queries.user_history.sql, asked, prepare=True, binary=True)
            return history_of(users[user], await cursor.fetchone())

        half = len(users) // 2
        alone: dict[str, list[float]] = {HISTORY_QUERY: []}
        histories = [await _timed(history(user), alone[HISTORY_QUERY]) for user in range(half)]
        parts = _parts(bundle, histories, answer)
        in_turn: dict[str, list[float]] = {HISTORY_QUERY: [], **{name: [] for name in parts}}
        with threadpool_limits(1):
            faiss.omp_set_num_threads(1)
            alone |= {name: [_took_s(part, user) for user in range(half)] for name, part in parts.items()}
            for user in range(half):
                await _timed(history(half + user), in_turn[HISTORY_QUERY])
                for name, part in parts.items():
                    in_turn[name].append(_took_s(part, user))
    return BareParts(_medians_ms(alone), _medians_ms(in_turn))


def _parts(
    bundle: Bundle, histories: Sequence[UserHistory], answer: Mapping[str, Any]
) -> dict[str, Callable[[int], object]]:
    """Return what is done for a user after the history is there, by name."""
    profiles = bundle.encode(histories)
    view = bundle.recommender.view(bundle.statistics)
    offered = [bundle.recommender.candidates(profiles, user, view, Options()) for user in range(len(histories))]
    table = np.random.default_rng(0).random((len(bundle.items), len(SPEC.names)), dtype=np.float32)

    def search(user: int) -> object:
        events = profiles.events(user)
        vector = bundle.parts.fold_in.vector(profiles.item[events], profiles.weight[events])
        return None if vector is None else bundle.parts.index.search(vector[None], CANDIDATES)

    return {
        "fold-in and search": search,
        "feature gather": lambda user: table[offered[user][0].items],
        "Booster.predict": lambda user: _predict(bundle, offered[user][1]),
        "JSON": lambda _: msgspec.json.encode(answer),
    }


def _predict(bundle: Bundle, rows: np.ndarray) -> Any:
    ranker = bundle.parts.ranker
    return None if ranker is None else [model.predict(rows, num_threads=1) for model in ranker.models]


async def _timed(work: Awaitable[UserHistory], took_s: list[float]) -> UserHistory:
    """Return a history, and note how long it took."""
    started = time.perf_counter()
    found = await work
    took_s.append(time.perf_counter() - started)
    return found


def _took_s(work: Callable[[int], object], user: int) -> float:
    started = time.perf_counter()
    work(user)
    return time.perf_counter() - started


def _medians_ms(took_s: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: float(np.median(times)) * 1000 for name, times in took_s.items()}
