"""The ranker as a bundle holds it: one LightGBM model or a blend of several, and how much of the work it may skip."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from training.bundle.trees import Trees, raw_scores, read_trees

Floats = npt.NDArray[np.float64]

HEAD_TREES: Final = 30
"""Trees of the first model by whose scores candidates are left out before all trees are asked."""
KEPT: Final = 80
"""Candidates for which all trees are asked, at least; and three for each place of the list."""


@dataclass(frozen=True, eq=False)
class Ranker:
    """LightGBM models whose raw scores are added, each times its share.

    A share is one over the spread of the model's scores where it was validated, so that none drowns the others.
    """

    models: tuple[lgb.Booster, ...]
    shares: tuple[float, ...]

    def scores(self, rows: npt.NDArray[np.float32]) -> Floats:
        """Return scores of feature rows (n, n_features), float64 (n,), by all trees."""
        total = np.zeros(len(rows))
        for trees, share in zip(self.trees, self.shares, strict=True):
            total += share * raw_scores(rows, trees, len(trees.roots))
        return total

    def top_scores(self, rows: npt.NDArray[np.float32], k: int) -> Floats:
        """Return scores of which the best `k` are as `scores` gives them: most trees see only likely candidates.

        What the first `HEAD_TREES` trees hold for unlikely stands below all others, in their order.
        """
        kept = max(KEPT, 3 * k)
        if len(rows) <= kept or self.n_trees <= 2 * HEAD_TREES:
            return self.scores(rows)
        head = raw_scores(rows, self.trees[0], HEAD_TREES)
        likely = np.sort(np.argpartition(-head, kept - 1)[:kept])
        found = self.scores(rows[likely])
        total = head - head.max() + found.min() - 1
        total[likely] = found
        return np.asarray(total, dtype=np.float64)

    def contributions(self, rows: npt.NDArray[np.float32]) -> Floats:
        """Return what each feature adds to each row's score (SHAP), and the base: float64 (n, n_features + 1)."""
        total = np.zeros((len(rows), rows.shape[1] + 1))
        if not len(rows):  # which LightGBM refuses
            return total
        for model, share in zip(self.models, self.shares, strict=True):
            total += share * np.asarray(model.predict(rows, pred_contrib=True, num_threads=1))
        return total

    @cached_property
    def trees(self) -> tuple[Trees, ...]:
        """Return the trees of each model."""
        return tuple(read_trees(model) for model in self.models)

    @cached_property
    def n_trees(self) -> int:
        """Return the number of trees of all models."""
        return sum(len(trees.roots) for trees in self.trees)

    @property
    def importance(self) -> Floats:
        """Return the share of the total gain that each feature brings, mean over the models: (n_features,)."""
        gains = [np.asarray(model.feature_importance("gain"), dtype=np.float64) for model in self.models]
        return np.asarray(np.mean([gain / max(gain.sum(), 1e-12) for gain in gains], axis=0))
