"""Golden requests: synthetic histories with the answers that the writer got, repeated by whoever opens a bundle."""

from typing import Final

import msgspec
import numpy as np

from features.contracts.profiles import Options, Profiles
from features.contracts.statistics import DAY_US, ItemStatistics
from training.bundle.manifest import BundleError
from training.bundle.recommender import Recommender

TOLERANCE: Final = 1e-4
_K: Final = 20
_LENGTHS: Final = (0, 1, 2, 5, 20, 100)
"""Lengths of the synthetic histories."""


class GoldenRequest(msgspec.Struct, frozen=True):
    """One synthetic history in internal indices, newest first, and the scores of its list, best first."""

    item: list[int]
    weight: list[float]
    age_days: list[float]
    scores: list[float]


def make_golden(recommender: Recommender, statistics: ItemStatistics, seed: int) -> list[GoldenRequest]:
    """Return golden requests for a recommender, drawn from its popular items with a seeded generator."""
    rng = np.random.default_rng(seed)
    chance = statistics.count + 1.0
    requests = []
    for length in _LENGTHS:
        size = min(length, recommender.n_items // 2)
        item = rng.choice(recommender.n_items, size, replace=False, p=chance / chance.sum()).tolist()
        ages = np.sort(rng.uniform(0.1, 30.0, size)).round(3).tolist()
        request = GoldenRequest(item, [1.0] * size, ages, [])
        requests.append(msgspec.structs.replace(request, scores=answer(recommender, statistics, request)))
    return requests


def answer(recommender: Recommender, statistics: ItemStatistics, request: GoldenRequest) -> list[float]:
    """Return the scores of the list that a golden request gets."""
    n_events = len(request.item)
    at_us = statistics.closed_at_us - (np.asarray(request.age_days, dtype=np.float64) * DAY_US).astype(np.int64)
    item = np.asarray(request.item, dtype=np.int32)
    offsets = np.array([0, n_events], dtype=np.int64)
    weight = np.asarray(request.weight, dtype=np.float32)
    profiles = Profiles(("golden",), offsets, item, weight, at_us, offsets, np.sort(item))
    found = recommender.recommend(profiles, statistics, statistics.closed_at_us, Options(k=_K))
    return [float(score) for score in found.scores[0] if not np.isnan(score)]


def check_answers(recommender: Recommender, statistics: ItemStatistics, requests: list[GoldenRequest]) -> None:
    """Repeat golden requests.

    Raises
    ------
    BundleError
        Naming the first request whose list has another length or a score that differs by more than `TOLERANCE`.
    """
    for number, request in enumerate(requests):
        scores = answer(recommender, statistics, request)
        if len(scores) != len(request.scores) or not np.allclose(scores, request.scores, rtol=0, atol=TOLERANCE):
            raise BundleError(
                f"golden request {number} (history of {len(request.item)}): got scores {scores[:3]}..., the bundle "
                f"was written with {request.scores[:3]}...; it does not compute here what it computed there: refuse it"
            )
