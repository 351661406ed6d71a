"""Budgets: how many candidates each source may propose, by what it finds that the others do not."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.profiles import Options
from training import lists
from training.bundle.recommender import Recommender
from training.bundle.sources import SOURCES
from training.hiding import Hiding, eligible_at
from training.moments import Moment

STEP: Final = 10
"""Candidates by which a budget grows."""
LEAST: Final = 10
"""Every source that is on proposes at least so many: what it ranks is a feature as well."""
MOST: Final = 150
_USERS: Final = 800
"""Users by whom budgets are chosen."""
_NEVER: Final = 1 << 20
"""Step of an item that a source does not offer."""


def choose_budgets(
    recommender: Recommender | Hiding,
    moments: Sequence[Moment],
    on: Sequence[str],
    *,
    mean_candidates: int,
    options: Options,
    seed: int,
) -> Mapping[str, int]:
    """Return a budget for each source, 0 for those that are not on.

    From `LEAST` each, the source grows that finds most further liked items for each further candidate, until users
    have `mean_candidates` on average.

    Parameters
    ----------
    recommender
        Retrieval fitted before the moments.
    moments
        Whose labels are to be found; each lends as many users.
    on
        Names of the sources that may propose.
    options
        What may be proposed.
    """
    rng = np.random.default_rng(seed)
    chosen = [np.sort(rng.permutation(len(moment.users))[: _USERS // len(moments)]) for moment in moments]
    found = [_offers(recommender, *some, on, options) for some in zip(moments, chosen, strict=True)]
    steps, hit = (np.concatenate(part) for part in zip(*found, strict=True))
    n_users = max(sum(len(some) for some in chosen), 1)
    budgets = dict.fromkeys(on, LEAST)
    inside = (steps <= LEAST // STEP).any(axis=1)
    while int(inside.sum()) < mean_candidates * n_users:
        best, most = None, -1.0
        for column, name in enumerate(on):
            if budgets[name] >= MOST:
                continue
            new = (steps[:, column] <= budgets[name] // STEP + 1) & ~inside
            gain = float(hit[new].sum()) / max(int(new.sum()), 1)
            if new.any() and gain > most:
                best, most = name, gain
        if best is None:
            break
        budgets[best] += STEP
        inside |= steps[:, on.index(best)] <= budgets[best] // STEP
    return {name: budgets.get(name, 0) for name in SOURCES}


def _offers(
    recommender: Recommender | Hiding,
    moment: Moment,
    chosen: npt.NDArray[np.int64],
    on: Sequence[str],
    options: Options,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Return for each item offered to some user at which step each source proposes it, and what its hit is worth.

    A hit is worth its part of the user's labels: users count alike.
    """
    steps: list[npt.NDArray[np.int32]] = []
    hits: list[npt.NDArray[np.float64]] = []
    columns = [SOURCES.index(name) for name in on]
    may = replace(options, eligible=eligible_at(recommender, moment))
    history = moment.history
    for batch in lists.groups(history, moment.users[chosen], moment.as_of_us[chosen], recommender.plan.history_limit):
        view = recommender.view(batch.statistics)
        for user, position in enumerate(batch.position.tolist()):
            offers = recommender.offers(batch.profiles, user, view, may, MOST)
            items = np.unique(np.concatenate([offers[column].items for column in columns]))
            step = np.full((len(items), len(on)), _NEVER, dtype=np.int32)
            for place, column in enumerate(columns):
                rank = np.arange(len(offers[column].items))
                step[np.searchsorted(items, offers[column].items), place] = rank // STEP + 1
            labels = moment.labels[chosen[position]]
            steps.append(step)
            hits.append(np.isin(items, labels) / len(labels))
    return np.concatenate(steps), np.concatenate(hits)
