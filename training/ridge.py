"""The map from content vectors to ALS item factors: ridge regression, its strength chosen on held-out items."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from training.bundle.content import mapped

STRENGTHS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Of the penalty, as shares of the mean diagonal of the normal equations."""
FOLDS: Final = 5
"""Parts of the items, each held out once."""
TRUSTED: Final = 10.0
"""Liking events after which half of what an item's factors say is believed."""

Singles = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ContentMap:
    """A fitted map.

    Attributes
    ----------
    mapping
        float32 (n_dimensions + 1, n_columns), as `Content.mapping` has it.
    strength
        The penalty that served held-out items best.
    explained
        Share of the held-out items' factors that it explained, weighed as in the fit; below 0 it is worse than none.
    """

    mapping: Singles
    strength: float
    explained: float


def promised(factors: Singles, count: npt.NDArray[np.int64]) -> Singles:
    """Return what a map is to tell of items: their factors and the log of 1 + their liking events, side by side."""
    return np.column_stack((factors, np.log1p(count))).astype(np.float32)


def fit_map(
    vectors: npt.NDArray[np.floating], factors: Singles, count: npt.NDArray[np.int64], *, seed: int
) -> ContentMap:
    """Return the map that explains most of the factors of items which it was not fitted on.

    Parameters
    ----------
    vectors
        (n_items, n_dimensions) of the items that have a history and a text.
    factors
        What it is to tell of them, (n_items, n_columns): the strength is chosen by all columns but the last.
    count
        Liking events of each, int64 (n_items,): the factors of items with few are believed less.
    """
    weight = count / (count + TRUSTED)
    fold = _folds(len(vectors), seed)
    rows = _rows(vectors)
    found = _explained(rows, factors, weight, fold)
    strength = max(found, key=lambda one: found[one])
    return ContentMap(_Equations.of(rows, factors, weight).solved(strength), strength, found[strength])


def held_out(
    vectors: npt.NDArray[np.floating], factors: Singles, count: npt.NDArray[np.int64], *, seed: int
) -> Singles:
    """Return what texts promise, float32 (n_items, n_columns), of each item by a map that was fitted without it.

    Parameters as of `fit_map`, of all items: those without a history or a text teach nothing.
    """
    learned = np.flatnonzero((count > 0) & vectors.any(axis=1))
    weight = count / (count + TRUSTED)
    rows = _rows(vectors)
    some = (rows[learned], factors[learned], weight[learned])
    explained = _explained(*some, _folds(len(learned), seed))
    strength = max(explained, key=lambda one: explained[one])
    fold = _folds(len(vectors), seed)
    found = np.empty((len(vectors), factors.shape[1]), dtype=np.float32)
    for number in range(FOLDS):
        others = learned[fold[learned] != number]
        mapping = _Equations.of(rows[others], factors[others], weight[others]).solved(strength)
        found[fold == number] = mapped(vectors[fold == number], mapping)
    return found


def _folds(n_rows: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the fold of each row, drawn, all as large as can be."""
    return np.random.default_rng(seed).permutation(n_rows) % FOLDS


def _rows(vectors: npt.NDArray[np.floating]) -> Doubles:
    """Return vectors with a constant behind, for the intercept."""
    return np.column_stack((vectors.astype(np.float64), np.ones(len(vectors))))


def _explained(rows: Doubles, factors: Singles, weight: Doubles, fold: npt.NDArray[np.int64]) -> dict[float, float]:
    """Return, by strength, the share of the held-out items' factors that its maps explain."""
    missed, whole = dict.fromkeys(STRENGTHS, 0.0), 0.0
    for number in range(FOLDS):
        out = fold == number
        if out.all() or not out.any():
            continue
        mean = np.average(factors[~out], axis=0, weights=weight[~out])
        whole += float(weight[out] @ ((factors[out] - mean)[:, :-1] ** 2).sum(axis=1))
        equations = _Equations.of(rows[~out], factors[~out], weight[~out])
        for strength in STRENGTHS:
            error = (factors[out] - mapped(rows[out, :-1], equations.solved(strength)))[:, :-1]
            missed[strength] += float(weight[out] @ (error**2).sum(axis=1))
    return {strength: 1 - missed[strength] / max(whole, 1e-12) for strength in STRENGTHS}


@dataclass(frozen=True, eq=False)
class _Equations:
    """Weighted normal equations, without a penalty."""

    system: Doubles
    target: Doubles

    @classmethod
    def of(cls, rows: Doubles, factors: Singles, weight: Doubles) -> "_Equations":
        weighed = rows * weight[:, None]
        return cls(weighed.T @ rows, weighed.T @ factors.astype(np.float64))

    def solved(self, strength: float) -> Singles:
        """Return the map of one strength; the last row is the intercept, which is not penalised."""
        size = len(self.system)
        penalty = np.full(size, strength * max(float(np.trace(self.system)) / size, 1e-12))
        penalty[-1] = 1e-9
        return np.linalg.solve(self.system + np.diag(penalty), self.target).astype(np.float32)
