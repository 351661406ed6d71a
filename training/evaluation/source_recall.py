"""Candidate recall of each source: of its own list against its length, and of what it alone adds to the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from training.bundle.sources import Offer
from training.evaluation.resampling import estimate_all
from training.metrics import Estimate, Floats

BUDGETS: Final = (10, 20, 30, 50, 100, 200)


@dataclass(frozen=True, slots=True)
class SourceRecall:
    """What one source is worth.

    Attributes
    ----------
    budget
        Candidates it may propose in the bundle; 0 = off.
    recall
        Share of a user's labels within the first so many items of its own list, by budget; of sampled users.
    alone
        Share of a user's labels that it proposes and no other source does, at the budgets used.
    """

    budget: int
    recall: dict[int, Estimate]
    alone: Estimate

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "budget": self.budget,
            "recall": {str(budget): estimate.to_json() for budget, estimate in self.recall.items()},
            "only_from_it": self.alone.to_json(),
        }


def recall_by_budget(offers: Sequence[Offer], labels: npt.NDArray[np.int32], n_items: int) -> Floats:
    """Return the share of one user's labels in the first items of each source's list: (n_sources, len(BUDGETS))."""
    found = np.zeros((len(offers), len(BUDGETS)))
    liked = np.zeros(n_items, dtype=bool)
    liked[labels[labels != MISSING]] = True
    for row, offer in enumerate(offers):
        places = np.flatnonzero(liked[offer.items])
        found[row] = np.searchsorted(places, BUDGETS) / len(labels)
    return found


def recall_alone(
    candidates: npt.NDArray[np.int32],
    ranks: npt.NDArray[np.float32],
    budgets: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int32],
) -> Floats:
    """Return the share of one user's labels that one source proposes and no other, of each source: (n_sources,).

    Parameters
    ----------
    candidates, ranks
        int32 (n,) and float32 (n, n_sources): a user's candidates and their ranks from 1, NaN where unknown.
    budgets
        int64 (n_sources,), how many items each source may propose.

    >>> ranks = np.array([[1, np.nan], [2, 1]], np.float32)
    >>> recall_alone(np.array([4, 7], np.int32), ranks, np.array([2, 2]), np.array([4, 7], np.int32))
    array([0.5, 0. ])
    """
    with np.errstate(invalid="ignore"):
        proposed = ranks <= budgets
    single = proposed & (proposed.sum(axis=1) == 1)[:, None]
    liked = np.isin(candidates, labels)
    return np.asarray(single[liked].sum(axis=0) / len(labels), dtype=np.float64)


def summarize(
    names: Sequence[str], budgets: Mapping[str, int], by_budget: Floats, alone: Floats, seed: int
) -> dict[str, SourceRecall]:
    """Return each source's recall with intervals over users, by name; those that are off and find nothing are left out.

    Parameters
    ----------
    by_budget, alone
        (n_users, n_sources, len(BUDGETS)) and (n_users, n_sources).
    """
    columns = {
        (name, budget): by_budget[:, row, column]
        for row, name in enumerate(names)
        for column, budget in enumerate(BUDGETS)
    } | {(name, 0): alone[:, row] for row, name in enumerate(names)}
    found = estimate_all(columns, seed)
    return {
        name: SourceRecall(budgets.get(name, 0), {budget: found[name, budget] for budget in BUDGETS}, found[name, 0])
        for name in names
        if budgets.get(name, 0) or found[name, BUDGETS[-1]].mean > 0
    }
