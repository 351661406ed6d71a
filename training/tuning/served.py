"""What settings are worth when served: the ranker learns at earlier moments, and is judged on the latest slice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.bundle.fusion import order_scores
from training.bundle.offered import SPEC
from training.bundle.plan import RANKER
from training.config import TrainingConfig
from training.group_file import GroupFile
from training.groups import Group
from training.metrics import Floats
from training.moments import Moment
from training.progress import Progress
from training.ranker import RankerFit, fit_on
from training.ranker_data import RankerData, ranker_data
from training.retrieval import Training
from training.slices import make_slices

_HALVES = 2


def scored_by(users: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Return by which users trials are scored, bool, the shape of `users`; the others judge the outcome."""
    return np.asarray(users % _HALVES == 0)


@dataclass(frozen=True, eq=False)
class Candidates:
    """What any ranker on one retrieval learns from and is scored on, and groups of other users, kept aside."""

    data: RankerData
    aside: GroupFile

    def fit(self, config: TrainingConfig) -> RankerFit:
        """Return a ranker; trees and objectives are chosen on the users by whom trials are scored."""
        return fit_on(self.data, config, refit=False)


def candidates_of(training: Training, moments: list[Moment], config: TrainingConfig, progress: Progress) -> Candidates:
    """Return the candidates that a configuration's retrieval leads to, at the moments (the latest first)."""
    slices = make_slices(training, moments, config, progress, with_fresh=False)
    scored = GroupFile(group for group in slices.later if scored_by(np.array(group.user)))
    aside = GroupFile(group for group in slices.later if not scored_by(np.array(group.user)))
    return Candidates(ranker_data(slices.earlier, scored, config, slices.budgets, SPEC), aside)


def served_score(fit: RankerFit) -> float:
    """Return NDCG@10 of what would serve, on the users by whom trials are scored."""
    return fit.validation[fit.order_by]


def served_values(fit: RankerFit, groups: Sequence[Group]) -> Floats:
    """Return the mean NDCG@10 of each user's groups, by user: float64 (n_users,), in the order that would serve."""

    def scores(group: Group) -> Floats:
        return fit.ranker.scores(group.rows) if fit.order_by == RANKER else order_scores(group.ranks, fit.order_by)

    users: list[int] = []
    values: list[float] = []
    for group in groups:
        users.append(group.user)
        values.append(group.ndcg(scores(group)))
    _, owner, count = np.unique(np.array(users, np.int64), return_inverse=True, return_counts=True)
    return np.asarray(np.bincount(owner, values, len(count)) / count, dtype=np.float64)
