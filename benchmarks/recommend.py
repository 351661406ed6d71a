"""Speed of `recommend()` without I/O, by catalogue size: one user at a time, and in batches, on one core."""

import time
from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.record import record
from features.contracts.facts import ItemFacts
from features.contracts.ids import IdMap
from features.contracts.profiles import Options
from features.contracts.statistics import DAY_US
from features.items import Categories
from training.bundle.parts import Parts
from training.bundle.plan import RANKER
from training.config import TrainingConfig
from training.data import Interactions
from training.fit import fit
from training.moments import time_moments
from training.retrieval import Training

N_USERS: Final = 10_000
EVENTS_PER_USER: Final = 40
REQUESTS: Final = 400
START_US: Final = 20_000 * DAY_US


def run() -> None:
    """Measure p50 and p99 of one user, and users per second in batches of 100, at 10,000 and 50,000 items."""
    figures = {}
    for n_items in (10_000, 50_000):
        print(f"recommend: {n_items} items", flush=True)
        figures[f"{n_items} items"] = _measure(made_up(n_items))
    record("recommend", figures)


def made_up(n_items: int) -> Interactions:
    """Return interactions of users with tastes: items of a user's group by a power law of popularity."""
    rng = np.random.default_rng(0)
    n_events = N_USERS * EVENTS_PER_USER
    user = np.repeat(np.arange(N_USERS), EVENTS_PER_USER)
    rank = np.minimum((n_items / 100 * rng.pareto(0.8, n_events)).astype(np.int64), n_items // 100 - 1)
    item = rank * 100 + np.where(rng.random(n_events) < 0.7, user % 100, rng.integers(100, size=n_events))
    at_us = np.sort(START_US + rng.integers(180 * DAY_US, size=n_events))
    shuffled = rng.permutation(n_events)
    return Interactions(
        users=IdMap([str(number) for number in range(N_USERS)]),
        items=IdMap([str(number) for number in range(n_items)]),
        user=user[shuffled].astype(np.int32),
        item=item[shuffled].astype(np.int32),
        weight=np.ones(n_events, np.float32),
        at_us=at_us,
        known_us=at_us,
    )


def fitted(interactions: Interactions) -> Parts:
    """Return the parts of a bundle fitted on interactions, whose ranker orders all lists."""
    n_items = len(interactions.items)
    offsets = np.arange(n_items + 1, dtype=np.int64)
    groups = Categories(tuple(f"g{n}" for n in range(100)), offsets, (np.arange(n_items) % 100).astype(np.int32))
    until_us = int(interactions.at_us[-1]) + 1
    training = Training(interactions.on_backtest_clock(), groups, ItemFacts.unknown(n_items), until_us)
    parts, fitted = fit(training, time_moments(training.interactions, until_us, 2), TrainingConfig())
    # The whole line is timed, whichever order did best on made-up tastes.
    return replace(parts, plan=msgspec.structs.replace(parts.plan, order_by=RANKER), ranker=fitted.known.ranker)


def _measure(interactions: Interactions) -> dict[str, Any]:
    parts = fitted(interactions)
    recommender = parts.recommender()
    statistics = parts.state.at(parts.closed_at_us)
    users = np.random.default_rng(1).choice(N_USERS, REQUESTS, replace=False)
    profiles = interactions.profiles(users, 500)
    as_of_us = max(parts.closed_at_us, int(interactions.at_us[-1])) + 1

    def took_s(rows: np.ndarray) -> float:
        some = profiles.take(rows)
        started = time.perf_counter()
        recommender.recommend(some, statistics, as_of_us, Options(k=20))
        return time.perf_counter() - started

    with threadpool_limits(1):  # as in servers
        took_s(np.arange(20))
        one = np.array([took_s(np.array([row])) for row in range(REQUESTS)]) * 1000
        batches = [took_s(np.arange(start, start + 100)) for start in range(0, REQUESTS, 100)]
    return {
        "trees": parts.ranker.n_trees if parts.ranker is not None else 0,
        "p50_ms": round(float(np.median(one)), 2),
        "p99_ms": round(float(np.quantile(one, 0.99)), 2),
        "batch_users_per_s": round(100 / float(np.median(batches))),
    }
