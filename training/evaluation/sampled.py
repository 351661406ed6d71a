"""Candidates of some judged users, kept to look into the ranker: their scores and hits, and a few feature rows."""

from typing import Final

import numpy as np
import numpy.typing as npt

from training.bundle.plan import RANKER
from training.bundle.ranker import Ranker
from training.bundle.result import Trace
from training.evaluation.reliability import Tenth, reliability

USERS: Final = 1_000
"""Users whose candidates are kept; the others would change nothing that can be seen."""
ROWS_PER_USER: Final = 1


class CandidateSample:
    """Collects candidates of a fixed random part of the users; `ranker` is what serves, if one does."""

    def __init__(self, n_users: int, seed: int, ranker: Ranker | None = None) -> None:
        self._ranker = ranker
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
        kept, scores = self._scored(trace)
        self._scores.append(scores)
        self._hits.append(np.isin(kept, labels))
        if len(trace.rows):
            picked = self._rng.integers(len(trace.rows), size=ROWS_PER_USER)
            self._rows.append(trace.rows[picked])

    def _scored(self, trace: Trace) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Return candidates and scores that mean the same for every user.

        What orders a list does not: unlikely candidates stand below the others of their user by the first trees alone,
        and items that nobody met are placed among those that somebody did.
        """
        if self._ranker is None or trace.order_by != RANKER:
            return trace.candidates, trace.scores
        met = ~trace.unmet
        return trace.candidates[met], self._ranker.scores(trace.rows[met])

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
