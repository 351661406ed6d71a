"""The bootstrap over users: with one seed and number of users, the same resamples for every column and call."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]

_DRAWN_AT_ONCE: Final = 4_000_000
"""Entries of a block of resamples: some tens of megabytes."""
_DECIMALS: Final = 12
"""What differs behind them is left of rounding errors, and is no evidence."""


def times_drawn(users: int, seed: int, resamples: int) -> Iterator[_Floats]:
    """Yield, in blocks of resamples, how often each user is drawn into each: (some resamples, users).

    Nothing comes of no users.
    """
    rng = np.random.default_rng(seed)
    rows = max(1, _DRAWN_AT_ONCE // max(users, 1))
    for start in range(0, resamples if users else 0, rows):
        block = min(rows, resamples - start)
        drawn = rng.integers(0, users, (block, users)) + np.arange(block)[:, None] * users
        yield np.bincount(drawn.ravel(), minlength=block * users).reshape(block, users).astype(np.float64)


def resampled_means(columns: _Floats, seed: int, resamples: int) -> _Floats:
    """Return the means of resampled users of each column: float64 (resamples, n_columns).

    Parameters
    ----------
    columns
        Per-user values, float64 (n_users, n_columns), at least one user.
    seed
        With the number of users it fixes who is drawn: each mean is a sum of values with weights that are no less than
        0 and do not depend on the values, so it never falls when a value rises.
    """
    users = len(columns)
    return np.concatenate([times @ columns for times in times_drawn(users, seed, resamples)]) / users


def bounds(means: _Floats, level: float) -> _Floats:
    """Return a quantile of resampled means of each column, (n_columns,): it never falls when a mean rises."""
    return np.asarray(np.round(np.quantile(means, level, axis=0), _DECIMALS))
