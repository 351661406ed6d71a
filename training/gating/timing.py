"""How long lists of two models take on this machine: interleaved, the fastest of several tries of each."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np

from training.bundle.recommender import Recommender
from training.evaluation.judged import Judged
from training.lists import groups

USERS: Final = 40
"""Users whose lists are timed: spread evenly over the judged ones."""
ROUNDS: Final = 5
"""Tries of each. What else the machine does makes a try slower, never faster: the fastest is the model's own time."""

Call = Callable[[], object]


def fastest_ms(
    models: Sequence[Sequence[Call]], rounds: int = ROUNDS, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Return the milliseconds of a call of each model: the fastest of the rounds, the mean over its calls.

    Parameters
    ----------
    models
        Per model its calls, one for each user; the models take turns at each user.
    clock
        Seconds.
    """
    best = np.full((len(models), len(models[0])), np.inf)
    for _ in range(rounds):
        for user in range(best.shape[1]):
            for model, calls in enumerate(models):
                started_s = clock()
                calls[user]()
                best[model, user] = min(best[model, user], clock() - started_s)
    return [float(one) * 1000 for one in best.mean(axis=1)]


def list_calls(recommender: Recommender, judged: Judged, users: int = USERS) -> list[Call]:
    """Return calls that make one list each, of some of the judged users."""
    picked = np.unique(np.linspace(0, len(judged) - 1, min(users, len(judged))).astype(np.int64))
    asked, as_of_us = judged.users[picked], judged.as_of_us[picked]
    return [
        partial(recommender.recommend, one.profiles, one.statistics, one.as_of_us, judged.options(10))
        for group in groups(judged.history, asked, as_of_us, recommender.plan.history_limit)
        for one in group.batches(1)
    ]
