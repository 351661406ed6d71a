"""What diversity costs and gains: the same candidates and scores of judged users, in the order of each strength."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from features.contracts.ids import MISSING
from training.bundle.diversity import Likeness, diversify
from training.bundle.recommender import Recommender
from training.bundle.result import Recommendations, Trace
from training.evaluation.judged import Judged
from training.evaluation.methods import K
from training.evaluation.popularity import TOP, Lists
from training.evaluation.resampling import estimate_all, estimate_methods
from training.lists import Group, recommend_all
from training.metrics import Estimate, Floats, coverage, per_user

STRENGTHS: Final = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


@dataclass(frozen=True, slots=True)
class AtStrength:
    """Lists of one strength: list metrics and those of `variety`, what they lose in NDCG@10, and coverage."""

    strength: float
    metrics: dict[str, Estimate]
    ndcg_change: Estimate
    coverage: float

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "strength": self.strength,
            "metrics": {name: entry.to_json() for name, entry in self.metrics.items()},
            "ndcg_change": self.ndcg_change.to_json(),
            "coverage@10": self.coverage,
        }


def judge_diversity(
    recommender: Recommender, judged: Judged, *, seed: int, strengths: Sequence[float] = STRENGTHS
) -> list[AtStrength]:
    """Return what the served lists are worth at each strength, the first of which the others are held against."""
    lists = {strength: np.full((len(judged), K), MISSING, dtype=np.int32) for strength in strengths}

    def see(group: Group, found: Recommendations) -> None:
        for position, trace in zip(group.position.tolist(), found.traces, strict=True):
            for strength, rows in lists.items():
                items = in_order(trace, recommender.likeness, strength)
                rows[position, : len(items)] = items

    recommend_all(recommender, judged.history, judged.users, judged.as_of_us, judged.options(K), see=see)
    values = {
        str(strength): per_user(rows, judged.labels) | variety(rows, recommender.likeness)
        for strength, rows in lists.items()
    }
    metrics = estimate_methods(values, seed)
    first = values[str(strengths[0])]["ndcg@10"]
    changes = estimate_all({strength: values[str(strength)]["ndcg@10"] - first for strength in strengths}, seed)
    return [
        AtStrength(strength, metrics[str(strength)], changes[strength], coverage(rows, recommender.n_items, TOP))
        for strength, rows in lists.items()
    ]


def in_order(trace: Trace, likeness: Likeness, strength: float) -> Lists:
    """Return the items of a traced list at a strength."""
    return trace.candidates[diversify(trace.candidates, trace.scores, likeness, K, strength)]


def variety(lists: Lists, likeness: Likeness) -> dict[str, Floats]:
    """Return how different the first ten places of each list are, by name, NaN where that has no meaning.

    `distance@10` is the mean of 1 - likeness over all pairs, `categories@10` counts distinct categories, and
    `entropy@10` is that of their shares in bits: 0 where all items are of the same one.
    """
    values = [_variety(row[row != MISSING][:TOP], likeness) for row in lists]
    columns = np.array(values).reshape(len(lists), 3).T
    return dict(zip(("distance@10", "categories@10", "entropy@10"), columns, strict=True))


def _variety(items: Lists, likeness: Likeness) -> tuple[float, float, float]:
    distance = float("nan")
    if len(items) > 1:
        alike = likeness.similarity(items)
        distance = 1 - float(alike[~np.eye(len(items), dtype=bool)].mean())
    _, category = likeness.categories.of(items)
    if not len(category):
        return distance, float("nan"), float("nan")
    share = np.unique(category, return_counts=True)[1] / len(category)
    return distance, float(len(share)), float(-(share * np.log2(share)).sum()) + 0.0
