"""Better, not worse, worse or too few users: what can be said of a candidate beside the champion, on the same users.

Everything is read off one paired bootstrap of users (percentile intervals; Efron and Tibshirani, 1993):

* *worse* where the upper end of the difference's two-sided 95 % interval is below 0;
* *better* where its lower end is above 0: an equal version is called so in about 2.5 % of trainings, in simulations in
  up to 5 % where a hundred users have a few hits together; *worse* as often;
* *not worse* where the lower one-sided 95 % bound of the difference stays above the margin, as in trials of
  non-inferiority (Blackwelder, 1982): a version that loses exactly the margin passes in about 5 %, in simulations in
  up to 9 % where it loses whole lists of few users. The margin is taken user by user (`Margin.contrast`), and there
  must be as many users as `users_needed` counts;
* *too few users* otherwise: what was seen fits both a version that is as good and one that loses more than the margin.

What is shown to be worse is so even within the margin: a version a little worse each day would creep away from the
champion that it began with, and each step would be allowed.

Worse < too few users < not worse < better never falls when a value of the candidate rises or one of the champion falls:
resamples do not depend on the values, so every bound is monotone in them, and so is the count of users needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from training.gating.power import LEVEL, Margin, users_needed
from training.metrics import LEVEL as TWO_SIDED
from training.metrics import Estimate, Floats
from training.resampling import bounds, resampled_means

Word = Literal["better", "not worse", "worse", "too few users"]
WORDS: Final[tuple[Word, ...]] = ("worse", "too few users", "not worse", "better")
"""From worst to best."""
_TAIL: Final = (1 - TWO_SIDED) / 2


@dataclass(frozen=True, slots=True)
class Sampling:
    """How intervals are computed, and what is asked of the number of users.

    Attributes
    ----------
    seed, resamples
        Of the bootstrap.
    min_users
        With fewer, nothing is said but that.
    power
        Chance that a version just as good is told to be not worse at the number of users needed.
    """

    seed: int = 0
    resamples: int = 2000
    min_users: int = 100
    power: float = 0.8


@dataclass(frozen=True, slots=True)
class Comparison:
    """A candidate beside the champion.

    Attributes
    ----------
    word
        The verdict.
    users, needed
        Judged users, and how many it takes; infinite where no number would do.
    difference
        Mean of candidate minus champion, with its two-sided 95 % interval.
    reference
        The champion's mean.
    allowed
        What may be lost, in units of the metric: the strictest margin.
    bound
        Lower one-sided 95 % bound of the difference, to be above -`allowed`.
    """

    word: Word
    users: int
    needed: float
    difference: Estimate
    reference: float
    allowed: float
    bound: float


def estimates(columns: Sequence[Floats], sampling: Sampling) -> list[Estimate]:
    """Return the means of columns of per-user values (n_users,), at least one user, with two-sided 95 % intervals."""
    every = np.column_stack(columns)
    means = resampled_means(every, sampling.seed, sampling.resamples)
    ends = (bounds(means, level).tolist() for level in (_TAIL, 1 - _TAIL))
    return [Estimate(*numbers) for numbers in zip(every.mean(axis=0).tolist(), *ends, strict=True)]


def compare(candidate: Floats, champion: Floats, margins: Sequence[Margin], sampling: Sampling) -> Comparison:
    """Return what can be said of per-user values (n_users,) of the same users, at least one."""
    return compare_many(candidate[:, None], champion[:, None], margins, sampling)[0]


def compare_many(
    candidate: Floats, champion: Floats, margins: Sequence[Margin], sampling: Sampling
) -> list[Comparison]:
    """Return what can be said of each column of values (n_users, n_columns), all from the same resamples."""
    users, columns = candidate.shape
    contrasts = [margin.contrast(candidate, champion) for margin in margins]
    every = np.concatenate([candidate - champion, *contrasts], axis=1)
    means = resampled_means(every, sampling.seed, sampling.resamples)
    low, high = (bounds(means[:, :columns], level) for level in (_TAIL, 1 - _TAIL))
    left = bounds(means[:, columns:], 1 - LEVEL).reshape(len(margins), columns)
    allowed = (every[:, columns:].mean(axis=0).reshape(len(margins), columns)) - every[:, :columns].mean(axis=0)
    needed = np.max([users_needed(candidate, champion, margin, sampling.power) for margin in margins], axis=0)
    strictest = left.argmin(axis=0)
    return [
        _comparison(
            users,
            sampling.min_users,
            float(needed[column]),
            Estimate(float(every[:, column].mean()), float(low[column]), float(high[column])),
            float(champion[:, column].mean()),
            float(allowed[strictest[column], column]),
            float(left[strictest[column], column]),
        )
        for column in range(columns)
    ]


def _comparison(  # noqa: PLR0917  # one column's numbers, as they come
    users: int, min_users: int, needed: float, difference: Estimate, reference: float, allowed: float, left: float
) -> Comparison:
    needed = max(needed, min_users)
    word = _word(users, min_users, needed, difference, left)
    if word == "too few users" and users >= needed:
        needed = _settled_by(users, difference, allowed, left)
    return Comparison(word, users, needed, difference, reference, allowed, left - allowed)


def _word(users: int, min_users: int, needed: float, difference: Estimate, left: float) -> Word:
    if users < min_users:
        return "too few users"
    if difference.high < 0:
        return "worse"
    if difference.low > 0:
        return "better"
    return "not worse" if left > 0 and users >= needed else "too few users"


def _settled_by(users: int, difference: Estimate, allowed: float, left: float) -> float:
    """Return with how many users the verdict would fall if mean and spread stayed: more than there are."""
    shares = []
    kept = difference.mean + allowed
    if kept > 0:
        shares.append((kept - left) / kept)
    if difference.mean < 0:
        shares.append((difference.high - difference.mean) / -difference.mean)
    return float(np.ceil(users * min(shares) ** 2)) if shares else float("inf")
