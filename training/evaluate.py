"""Evaluation on a window that the bundle was not fitted on: the line that serves, beside every baseline."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from features.contracts.profiles import Options
from training.bundle.fusion import order_scores
from training.bundle.recommender import Recommender
from training.data import Interactions
from training.lists import groups
from training.metrics import Estimate, Floats, bootstrap_mean, coverage, estimates, per_user

K: Final = 20
SERVED: Final = "marquee"
BASELINES: Final = {
    "popularity": "popular",
    "recent popularity (1 day)": "trend_1d",
    "recent popularity (14 days)": "trend_14d",
    "ALS": "als",
    "item to item": "similar",
    "next item": "next_recent",
    "EASE": "ease",
}
"""Baselines by name, and the source that alone orders their lists."""


@dataclass(frozen=True, eq=False)
class Judged:
    """Whom to judge, and on what: users (internal indices), their moments, and the new items they liked later."""

    history: Interactions
    users: npt.NDArray[np.int32]
    as_of_us: npt.NDArray[np.int64]
    labels: list[npt.NDArray[np.int32]]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Per-user values and summaries of the served line and of each baseline, on the same users.

    `values` is method -> metric -> float64 (n_users,); `coverage` method -> share of the catalogue in the first ten;
    `candidate_recall` the share of labels among all candidates, per user.
    """

    values: dict[str, dict[str, Floats]]
    coverage: dict[str, float]
    candidate_recall: Floats
    shown: npt.NDArray[np.int64]
    seed: int

    @property
    def n_users(self) -> int:
        """Return the number of judged users."""
        return len(self.candidate_recall)

    def metrics(self) -> dict[str, dict[str, Estimate]]:
        """Return mean and interval of every metric of every method."""
        return {method: estimates(values, self.seed) for method, values in self.values.items()}

    def gains(self, metric: str = "ndcg@10") -> dict[str, Estimate]:
        """Return the paired difference of the served line to each baseline in a metric, with its interval."""
        served = self.values[SERVED][metric]
        return {
            method: bootstrap_mean(served - values[metric], self.seed)
            for method, values in self.values.items()
            if method != SERVED
        }

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values, without the per-user arrays."""
        methods = {
            method: {name: estimate.to_json() for name, estimate in found.items()}
            | {"coverage@10": self.coverage[method]}
            for method, found in self.metrics().items()
        }
        return {
            "users": self.n_users,
            "candidate_recall": bootstrap_mean(self.candidate_recall, self.seed).to_json(),
            "methods": methods,
            "gain_ndcg@10": {method: gain.to_json() for method, gain in self.gains().items()},
        }


def evaluate(
    recommender: Recommender, judged: Judged, *, seed: int, progress: Callable[[str], None] = lambda _: None
) -> Evaluation:
    """Return how the recommender does on judged users, beside each baseline.

    A baseline's list is what one source alone offers the user, in its order; all come from one retrieval per user.
    """
    lists = {method: np.full((len(judged.users), K), MISSING, dtype=np.int32) for method in (SERVED, *BASELINES)}
    recalled = np.zeros(len(judged.users))
    done = 0
    for group in groups(judged.history, judged.users, judged.as_of_us, recommender.plan.history_limit):
        found = recommender.recommend(group.profiles, group.statistics, group.as_of_us, Options(k=K), trace=True)
        lists[SERVED][group.position] = found.items
        for position, trace in zip(group.position.tolist(), found.traces, strict=True):
            labels = judged.labels[position]
            recalled[position] = np.isin(trace.candidates, labels).sum() / len(labels)
            for method, source in BASELINES.items():
                top = trace.candidates[np.argsort(-order_scores(trace.ranks, source), kind="stable")[:K]]
                lists[method][position, : len(top)] = top
        done += len(group.position)
        progress(f"judging: {done} of {len(judged.users)} users")
    served = lists[SERVED]
    return Evaluation(
        values={method: per_user(items, judged.labels) for method, items in lists.items()},
        coverage={method: coverage(items, len(judged.history.items), 10) for method, items in lists.items()},
        candidate_recall=recalled,
        shown=np.bincount(served[served != MISSING], minlength=len(judged.history.items)),
        seed=seed,
    )
