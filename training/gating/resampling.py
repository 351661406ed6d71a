"""Means of resampled users: the same resamples for every column, and for every call with the same seed and users."""

from typing import Final

import numpy as np
import numpy.typing as npt

from training.metrics import Floats

_DRAWN_AT_ONCE: Final = 4_000_000
"""Entries of a block of resamples: some tens of megabytes."""
_DECIMALS: Final = 12
"""What differs behind them is left of rounding errors, and is no evidence."""


def resampled_means(columns: Floats, seed: int, resamples: int) -> Floats:
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
    rng = np.random.default_rng(seed)
    rows = max(1, _DRAWN_AT_ONCE // users)
    blocks = [_times_drawn(rng, min(rows, resamples - start), users) @ columns for start in range(0, resamples, rows)]
    return np.concatenate(blocks) / users


def bounds(means: Floats, level: float) -> Floats:
    """Return a quantile of resampled means of each column, (n_columns,): it never falls when a mean rises."""
    return np.asarray(np.round(np.quantile(means, level, axis=0), _DECIMALS))


def _times_drawn(rng: np.random.Generator, resamples: int, users: int) -> npt.NDArray[np.float64]:
    """Return how often each user is drawn into each resample, (resamples, users)."""
    drawn = rng.integers(0, users, (resamples, users)) + np.arange(resamples)[:, None] * users
    counts = np.bincount(drawn.ravel(), minlength=resamples * users)
    return counts.reshape(resamples, users).astype(np.float64)
