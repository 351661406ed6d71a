"""Evaluation on a window that the bundle was not fitted on: the line that serves, beside every baseline."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from training.bundle.recommender import Recommender
from training.bundle.result import Recommendations
from training.evaluation.judged import Judged
from training.evaluation.measures import Measures
from training.evaluation.methods import SERVED, K
from training.evaluation.popularity import ItemPopularity, Lists, average_popularity, gini, novelty
from training.evaluation.reliability import Tenth
from training.evaluation.resampling import Methods, estimate_all, estimate_methods
from training.evaluation.segments import Segment, by_history_length, head_and_tail, light_and_heavy
from training.evaluation.source_recall import SourceRecall, summarize
from training.lists import Group, recommend_all
from training.metrics import Estimate, Floats, bootstrap_mean, coverage, per_user
from training.progress import Progress, silent


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Per-user values and summaries of the served line and of each baseline, on the same users.

    Attributes
    ----------
    values
        Method -> metric -> float64 (n_users,).
    coverage
        Method -> share of the catalogue in the first ten.
    candidate_recall
        float64 (n_users,), the share of labels among all candidates.
    shown
        int64 (n_items,), how often each item stands in the served lists.
    lists
        Method -> int32 (n_users, K).
    source, because
        int8 and int32 (n_users, K) of the served lists, as in `Recommendations`.
    sources
        Candidate recall of each source, by name.
    tenths
        Share of hits among candidates by tenth of the score.
    contributions
        Mean absolute SHAP value of each feature, largest first; empty where no ranker serves.
    """

    values: dict[str, dict[str, Floats]]
    coverage: dict[str, float]
    candidate_recall: Floats
    shown: npt.NDArray[np.int64]
    seed: int
    judged: Judged
    lists: dict[str, Lists]
    source: npt.NDArray[np.int8]
    because: npt.NDArray[np.int32]
    sources: dict[str, SourceRecall]
    tenths: list[Tenth]
    contributions: dict[str, float] = field(default_factory=dict)

    @property
    def n_users(self) -> int:
        """Return the number of judged users."""
        return len(self.candidate_recall)

    @cached_property
    def popularity(self) -> ItemPopularity:
        """Return how popular the items were before."""
        return ItemPopularity.of(self.judged.history)

    @cached_property
    def metrics(self) -> Methods:
        """Return mean and interval of every metric of every method."""
        return estimate_methods(self.values, self.seed)

    def gains(self) -> dict[str, Estimate]:
        """Return the paired difference of the served line to each baseline in NDCG@10, with its interval."""
        served = self.values[SERVED]["ndcg@10"]
        others = {method: served - values["ndcg@10"] for method, values in self.values.items() if method != SERVED}
        return estimate_all(others, self.seed)

    @cached_property
    def segments(self) -> dict[str, list[Segment]]:
        """Return metrics of parts of the users and of the labels, by what divides them."""
        ndcg = {method: values["ndcg@10"] for method, values in self.values.items()}
        length = self.judged.history_length
        return {
            "history length": by_history_length(ndcg, length, self.seed),
            "users": light_and_heavy(ndcg, length, self.seed),
            "items": head_and_tail(self.lists, self.judged.labels, self.popularity, self.seed),
        }

    @cached_property
    def leanings(self) -> dict[str, dict[str, Estimate | float]]:
        """Return novelty and popularity bias of each method's first ten places.

        Novelty and average popularity are means over users with intervals; Gini is of all lists together.
        """
        columns = {}
        for method, items in self.lists.items():
            columns[method, "novelty@10"] = novelty(items, self.popularity)
            columns[method, "average_popularity@10"] = average_popularity(items, self.popularity)
        found = estimate_all(columns, self.seed)
        return {
            method: {
                "novelty@10": found[method, "novelty@10"],
                "average_popularity@10": found[method, "average_popularity@10"],
                "gini@10": gini(items, len(self.popularity.users)),
            }
            for method, items in self.lists.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values, without the per-user arrays."""
        methods = {
            method: {name: estimate.to_json() for name, estimate in found.items()}
            | {"coverage@10": self.coverage[method]}
            | {
                name: value.to_json() if isinstance(value, Estimate) else value
                for name, value in self.leanings[method].items()
            }
            for method, found in self.metrics.items()
        }
        return {
            "users": self.n_users,
            "candidate_recall": bootstrap_mean(self.candidate_recall, self.seed).to_json(),
            "methods": methods,
            "gain_ndcg@10": {method: gain.to_json() for method, gain in self.gains().items()},
            "segments": {name: [part.to_json() for part in parts] for name, parts in self.segments.items()},
            "sources": {name: found.to_json() for name, found in self.sources.items()},
            "reliability": [tenth.to_json() for tenth in self.tenths],
            "importance": self.contributions,
        }


def evaluate(recommender: Recommender, judged: Judged, *, seed: int, progress: Progress = silent) -> Evaluation:
    """Return how the recommender does on judged users, beside each baseline.

    A baseline's list is what one source alone offers the user, in its order, and behind it what is popular. Most come
    from the one retrieval per user; sources with a small budget are asked again for a whole list.
    """
    options = judged.options(K)
    measures = Measures(recommender, judged, options, seed)
    done = 0

    def see(group: Group, found: Recommendations) -> None:
        nonlocal done
        measures.see(group, found)
        done += len(group.position)
        progress(f"judging: {done} of {len(judged)} users")

    recommend_all(recommender, judged.history, judged.users, judged.as_of_us, options, see=see)
    return evaluation_of(recommender, judged, measures, seed)


def evaluation_of(recommender: Recommender, judged: Judged, measures: Measures, seed: int) -> Evaluation:
    """Return the evaluation of judged users whose lists were measured."""
    lists = measures.compared()
    served = lists[SERVED]
    n_items = len(judged.history.items)
    names = [source.name for source in recommender.sources]
    return Evaluation(
        values={method: per_user(items, judged.labels) for method, items in lists.items()},
        coverage={method: coverage(items, n_items, 10) for method, items in lists.items()},
        candidate_recall=measures.recalled,
        shown=np.bincount(served[served != MISSING], minlength=n_items),
        seed=seed,
        judged=judged,
        lists=lists,
        source=measures.source,
        because=measures.because,
        sources=summarize(names, recommender.plan.budgets, measures.by_budget, measures.alone, seed),
        tenths=measures.sample.reliability(),
        contributions=measures.sample.contributions(recommender.ranker),
    )
