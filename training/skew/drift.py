"""How far served rows are from the rows that the ranker was validated on: PSI of each feature and of the scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from training.bundle.bundle import Bundle
from training.bundle.reference import Column, Reference, shares_of
from training.skew.rules import DriftRules

SCORES: Final = "score"
"""Stands for the ranker's scores among the names of features."""
LEAST_SHARE: Final = 1e-4
"""A share below it counts as so much: an empty bin would make the index infinite."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How far one column has moved.

    Attributes
    ----------
    psi
        Population stability index, 0 where nothing moved.
    importance
        Share of the ranker's gain that the feature brings; 1 for the scores.
    edges, trained, served
        Edges of the bins, and the share of values in each, the last of NaN.
    """

    name: str
    psi: float
    importance: float
    edges: tuple[float, ...]
    trained: tuple[float, ...]
    served: tuple[float, ...]

    def counts(self, rules: DriftRules) -> bool:
        """Return whether the ranker reads enough of it to be named."""
        return self.importance >= rules.least_importance


@dataclass(frozen=True, slots=True)
class Drift:
    """How far served rows have moved from those trained on; the largest shift first.

    Attributes
    ----------
    lists, rows
        Served ones that were looked at.
    shifts
        Of the scores and of each feature.
    unknown
        Why there is no verdict, None where there is one.
    """

    lists: int
    rows: int
    shifts: tuple[Shift, ...]
    unknown: str | None = None

    def beyond(self, threshold: float, rules: DriftRules) -> list[Shift]:
        """Return the shifts that count and reach a threshold."""
        if self.unknown is not None:
            return []
        return [shift for shift in self.shifts if shift.psi >= threshold and shift.counts(rules)]

    def drifted(self, rules: DriftRules) -> bool:
        """Return whether the scores have moved much, or features that decide much of them."""
        large = self.beyond(rules.large, rules)
        named = {shift.name for shift in large}
        return SCORES in named or sum(shift.importance for shift in large) >= rules.decisive

    def score(self) -> float | None:
        """Return the index of the scores, None where nothing was compared."""
        return next((shift.psi for shift in self.shifts if shift.name == SCORES), None)


def psi(trained: npt.ArrayLike, served: npt.ArrayLike) -> float:
    """Return the population stability index of two distributions over the same bins; both are shares that sum to 1.

    >>> round(psi([0.5, 0.5], [0.9, 0.1]), 4)
    0.8789
    """
    before, now = (np.maximum(np.asarray(shares, dtype=np.float64), LEAST_SHARE) for shares in (trained, served))
    return float(((now - before) * np.log(now / before)).sum())


def drift_of(bundle: Bundle, rows: npt.NDArray[np.float32], lists: int, rules: DriftRules) -> Drift:
    """Return how far served rows, of candidates that somebody had met, are from those of training.

    Parameters
    ----------
    rows
        float32 (n, n_features), all such candidates of some lists.
    lists
        How many lists they are of.
    """
    reference, ranker = bundle.parts.reference, bundle.parts.ranker
    if reference is None:
        return Drift(lists, len(rows), (), "the bundle is older than this check and brings no reference: train anew")
    if ranker is None or not len(rows):
        return Drift(lists, len(rows), (), "no rows were served")
    importance = dict(zip(bundle.spec.names, ranker.importance.tolist(), strict=True))
    columns = {name: rows[:, place] for place, name in enumerate(bundle.spec.names)}
    scores = _shift(SCORES, reference.scores, ranker.scores(rows), 1.0)
    found = [scores, *_shifts(reference, columns, importance)]
    few = f"{lists} lists, at least {rules.min_lists} are needed: few users are unlike the rest by chance"
    ordered = tuple(sorted(found, key=lambda shift: -shift.psi))
    return Drift(lists, len(rows), ordered, few if lists < rules.min_lists else None)


def _shifts(
    reference: Reference, columns: Mapping[str, npt.NDArray[np.float32]], importance: Mapping[str, float]
) -> list[Shift]:
    return [
        _shift(name, reference.features[name], values, importance[name])
        for name, values in columns.items()
        if name in reference.features
    ]


def _shift(name: str, column: Column, values: npt.NDArray[np.floating], importance: float) -> Shift:
    served = tuple(shares_of(values, column.edges).tolist())
    return Shift(name, psi(column.shares, served), importance, column.edges, column.shares, served)
