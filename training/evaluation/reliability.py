"""Whether higher scores mean more hits: the share of candidates that were liked, by tenth of the score.

Scores of lambdarank and its like only order; they are no probabilities. What can be asked of them is that the share of
hits rises with the score.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from training.evaluation.resampling import bootstrap_ratios, intervals
from training.metrics import Estimate, Floats

TENTHS: Final = 10


@dataclass(frozen=True, slots=True)
class Tenth:
    """Candidates of one tenth of all scores: their mean score, how many, and the share that users liked."""

    score: float
    candidates: int
    hit_rate: Estimate

    def to_json(self) -> dict[str, Any]:
        """Return the tenth as JSON values."""
        return {"score": self.score, "candidates": self.candidates, "hit_rate": self.hit_rate.to_json()}


def reliability(scores: Floats, hit: npt.NDArray[np.bool_], owner: npt.NDArray[np.int64], seed: int) -> list[Tenth]:
    """Return the tenths of all candidates by score, lowest first; tenths that ties leave empty are left out.

    Parameters
    ----------
    scores, hit, owner
        (n_candidates,): score, whether it was liked, and the number of the user it was made for, from 0.
    """
    if not len(scores):
        return []
    edges = np.quantile(scores, np.arange(1, TENTHS) / TENTHS)
    tenth = np.searchsorted(edges, scores, side="left")
    shape = (int(owner.max()) + 1, TENTHS)
    cell = owner * TENTHS + tenth
    count = np.bincount(cell, minlength=shape[0] * TENTHS).reshape(shape).astype(np.float64)
    hits = np.bincount(cell, hit, minlength=shape[0] * TENTHS).reshape(shape).astype(np.float64)
    rates = intervals(*bootstrap_ratios(hits, count, seed))
    size = count.sum(axis=0).astype(np.int64)
    mean = np.bincount(tenth, scores, TENTHS) / np.maximum(size, 1)
    return [Tenth(float(mean[number]), int(size[number]), rates[number]) for number in range(TENTHS) if size[number]]
