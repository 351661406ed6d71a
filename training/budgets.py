"""Budgets: how many candidates each source may propose, by what it finds that the others do not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.profiles import Options
from training.bundle.recommender import Recommender
from training.bundle.sources import SOURCES, Offer
from training.groups import asked
from training.moments import Moment

Offered = tuple[list[Offer], npt.NDArray[np.int32]]
"""What each source offers one user, and the items that were to be found."""

STEP: Final = 10
"""Candidates by which a budget grows."""
LEAST: Final = 10
"""Every source that is on proposes at least so many: what it ranks is a feature as well."""
MOST: Final = 150
_USERS: Final = 800
"""Users by whom budgets are chosen."""
_NEVER: Final = 1 << 20
"""Step of an item that a source does not offer."""


def choose_budgets(offered: Iterable[Offered], on: Sequence[str], mean_candidates: int) -> Mapping[str, int]:
    """Return a budget for each source, 0 for those that are not on.

    From `LEAST` each, the source grows that finds most further liked items for each further candidate, until users
    have `mean_candidates` on average.

    Parameters
    ----------
    offered
        Of some users, up to `MOST` items of each source, and what was to be found.
    on
        Names of the sources that may propose.
    """
    steps, hit, n_users = _steps(offered, on)
    budgets = dict.fromkeys(on, LEAST)
    inside = (steps <= LEAST // STEP).any(axis=1)
    while int(inside.sum()) < mean_candidates * max(n_users, 1):
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


def users_for_budgets(moments: Sequence[Moment], seed: int) -> Iterator[tuple[Moment, npt.NDArray[np.int64]]]:
    """Yield each moment with the positions of the users that it lends, drawn: as many from each."""
    rng = np.random.default_rng(seed)
    for moment in moments:
        yield moment, np.sort(rng.permutation(len(moment.users))[: _USERS // len(moments)])


def offered_to(
    recommender: Recommender, moments: Sequence[Moment], options: Options, seed: int, on: Sequence[str]
) -> Iterator[Offered]:
    """Yield what the sources that are on offer to users of some moments: items that somebody had met."""
    for moment, chosen in users_for_budgets(moments, seed):
        may = replace(options, eligible=moment.met)
        for one in asked(recommender, moment, chosen):
            yield recommender.offers(one.profiles, one.user, one.view, may, MOST, only=on), one.labels


def _steps(offered: Iterable[Offered], on: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64], int]:
    """Return for each item offered to some user at which step each source proposes it, and what its hit is worth.

    A hit is worth its part of the user's labels: users count alike. The last is the number of users.
    """
    steps, hits = [np.empty((0, len(on)), np.int32)], [np.empty(0)]
    columns = [SOURCES.index(name) for name in on]
    for offers, labels in offered:
        items = np.unique(np.concatenate([offers[column].items for column in columns]))
        step = np.full((len(items), len(on)), _NEVER, dtype=np.int32)
        for place, column in enumerate(columns):
            rank = np.arange(len(offers[column].items))
            step[np.searchsorted(items, offers[column].items), place] = rank // STEP + 1
        steps.append(step)
        hits.append(np.isin(items, labels) / max(len(labels), 1))
    return np.concatenate(steps), np.concatenate(hits), len(hits) - 1
