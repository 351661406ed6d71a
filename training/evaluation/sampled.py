"""Candidates of some judged users, kept to look into the ranker: their scores and hits, and a few feature rows."""

from typing import Final

import numpy as np
import numpy.typing as npt

from training.bundle.ranker import Ranker
from training.bundle.result import Trace
from training.evaluation.reliability import Tenth, reliability

USERS: Final = 1_000
"""Users whose candidates are kept; the others would change nothing that can be seen."""
ROWS_PER_USER: Final = 1


class CandidateSample:
    """Collects candidates of a fixed random part of the users."""

    def __init__(self, n_users: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._seed = seed
        self.users = np.sort(self._rng.permutation(n_users)[:USERS])
        """Positions of the users in the sample, ascending."""
        self._wanted = set(self.users.tolist())
        self._scores: list[npt.NDArray[np.float64]] = []
        self._hits: list[npt.NDArray[np.bool_]] = []
        self._rows: list[npt.NDArray[np.float32]] = []

    def __contains__(self, user: object) -> bool:
        """Return whether the user at a position is in the sample."""
        return user in self._wanted

    def see(self, user: int, trace: Trace, labels: npt.NDArray[np.int32]) -> None:
        """Keep what is wanted of one user's candidates."""
        if user not in self._wanted or not len(trace.candidates):
            return
        self._scores.append(trace.scores)
        self._hits.append(np.isin(trace.candidates, labels))
        if len(trace.rows):
            picked = self._rng.integers(len(trace.rows), size=ROWS_PER_USER)
            self._rows.append(trace.rows[picked])

    def reliability(self) -> list[Tenth]:
        """Return the share of hits by tenth of the score."""
        owner = np.repeat(np.arange(len(self._scores)), [len(entry) for entry in self._scores])
        none = np.empty(0)
        scores, hit = np.concatenate([none, *self._scores]), np.concatenate([none.astype(bool), *self._hits])
        return reliability(scores, hit, owner, self._seed)

    def contributions(self, ranker: Ranker | None) -> dict[str, float]:
        """Return each feature's mean absolute SHAP value, largest first; empty where no ranker ran.

        LightGBM computes them itself: Lundberg et al., Consistent Individualized Feature Attribution for Tree
        Ensembles, 2018 (`pred_contrib`).
        """
        if ranker is None or not self._rows:
            return {}
        mean = np.abs(ranker.contributions(np.concatenate(self._rows))[:, :-1]).mean(axis=0)
        order = np.argsort(-mean, kind="stable")
        names = ranker.models[0].feature_name()
        return {names[i]: float(mean[i]) for i in order.tolist()}
