"""Bootstrap over users of many columns at once: every column sees the same resamples, so differences are paired."""

from collections.abc import Hashable, Mapping
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from training.metrics import LEVEL, RESAMPLES, Estimate, Floats
from training.resampling import times_drawn

_Key = TypeVar("_Key", bound=Hashable)

Methods = dict[str, dict[str, Estimate]]
"""Estimates by method, then metric."""

FEWEST_USERS: Final = 20
"""Of fewer the interval of a difference says nothing: all of one or two users may well win by chance."""
UNKNOWN: Final = Estimate(float("nan"), float("nan"), float("nan"))


def bootstrap_ratios(
    above: Floats, below: Floats, seed: int, resamples: int = RESAMPLES
) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Return sum(above) / sum(below) of each column, and the same of resampled users.

    Parameters
    ----------
    above, below
        (n_users, n_columns); a mean over some of the users has 0 in both for the others.

    Returns
    -------
    tuple
        (n_columns,), and (resamples, n_columns), NaN where `below` sums to 0.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = [(times @ above) / (times @ below) for times in times_drawn(len(above), seed, resamples)]
        means = np.concatenate(drawn) if drawn else np.full((resamples, above.shape[1]), np.nan)
        return above.sum(axis=0) / below.sum(axis=0), means


def bootstrap_columns(values: Floats, seed: int, resamples: int = RESAMPLES) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Return the mean of each column over the users for whom it is known, and the means of resampled users.

    `values` is float64 (n_users, n_columns), NaN where a column says nothing of a user.

    >>> bootstrap_columns(np.array([[1.0, np.nan], [2.0, 4.0]]), seed=0)[0]
    array([1.5, 4. ])
    """
    known = ~np.isnan(values)
    return bootstrap_ratios(np.where(known, values, 0.0), known.astype(np.float64), seed, resamples)


def intervals(mean: Floats, drawn: npt.NDArray[np.float64]) -> list[Estimate]:
    """Return an estimate of each column from its mean and its resampled means; `UNKNOWN` where there is no mean."""
    found = []
    for column, value in enumerate(mean.tolist()):
        known = drawn[:, column][~np.isnan(drawn[:, column])]
        if np.isnan(value) or not len(known):
            found.append(UNKNOWN)
            continue
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        found.append(Estimate(value, float(low), float(high)))
    return found


def estimate_all(columns: Mapping[_Key, Floats], seed: int, resamples: int = RESAMPLES) -> dict[_Key, Estimate]:
    """Return mean and interval of each column of per-user values (n_users,), NaN where a user does not count."""
    if not columns:
        return {}
    values = np.column_stack(list(columns.values()))
    return dict(zip(columns, intervals(*bootstrap_columns(values, seed, resamples)), strict=True))


def estimate_methods(values: Mapping[str, Mapping[str, Floats]], seed: int) -> Methods:
    """Return mean and interval of per-user values by method and metric."""
    return by_method(estimate_all(by_method_and_metric(values), seed))


def by_method_and_metric(values: Mapping[str, Mapping[str, Floats]]) -> dict[tuple[str, str], Floats]:
    """Return the values of all methods side by side."""
    return {(method, metric): entry for method, found in values.items() for metric, entry in found.items()}


def by_method(found: Mapping[tuple[str, str], Estimate]) -> Methods:
    """Return estimates of (method, metric) by method, then metric."""
    methods: Methods = {}
    for (method, metric), estimate in found.items():
        methods.setdefault(method, {})[metric] = estimate
    return methods


def methods_to_json(methods: Methods) -> dict[str, dict[str, dict[str, float]]]:
    """Return estimates as JSON values."""
    return {method: {name: estimate.to_json() for name, estimate in found.items()} for method, found in methods.items()}
