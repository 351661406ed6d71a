"""The gate: whether a candidate may be served, decided by rules on paired values of the same users."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from features.contracts.errors import ContractError

Outcome = Literal["promoted", "refused", "needs_human"]
Verdict = Literal["passed", "failed", "undecided"]

Values = npt.NDArray[np.float64]

_BLOCK_CELLS: Final = 4_000_000
"""Resampled values held at a time: 48 MB with their positions."""


@dataclass(frozen=True, slots=True)
class GateRules:
    """What the gate asks for.

    Attributes
    ----------
    metric
        Name of the per-user metric that decides.
    min_users
        With fewer judged users an interval says too little: a person decides.
    level
        Share of resamples within an interval.
    resamples
        Bootstrap resamples of users.
    """

    metric: str = "ndcg@10"
    min_users: int = 100
    level: float = 0.95
    resamples: int = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over users and the bootstrap interval around it."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return the three numbers as people read them."""
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one rule said, and why, with its numbers."""

    rule: str
    verdict: Verdict
    reason: str
    interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's decision and every rule's reason."""

    outcome: Outcome
    users: int
    rules: tuple[RuleResult, ...]

    @property
    def reasons(self) -> str:
        """Return one line per rule, as the model version's tag and the task log hold them."""
        return "\n".join(f"{rule.rule}: {rule.verdict}: {rule.reason}" for rule in self.rules)


def decide(
    candidate: Mapping[str, Values],
    champion: Mapping[str, Values] | None,
    popularity: Mapping[str, Values],
    rules: GateRules,
    rng: np.random.Generator,
) -> Decision:
    """Return whether the candidate may be served.

    Raising any of the candidate's values never makes the outcome worse (refused < needs_human < promoted): the
    resamples depend on the seed and on the number of users only.

    Parameters
    ----------
    candidate, champion, popularity
        Per-user values (n_users,) by metric name, of the same users in the same order, of one window that neither
        model was fitted on. No champion: none is served yet.
    rng
        Draws the resamples.

    Raises
    ------
    ContractError
        If the rules' metric is missing or the users differ in number.
    """
    ours, base = _values(candidate, rules, "candidate"), _values(popularity, rules, "popularity")
    theirs = None if champion is None else _values(champion, rules, "champion")
    _same_users(ours, base, "popularity")
    results = [_enough_users(len(ours), rules)]
    draw = _Resampler(len(ours), rules, rng)
    if len(ours):
        results.append(_beats_popularity(draw.interval(ours - base), rules))
    if theirs is None:
        results.append(RuleResult("champion", "passed", "no version is served yet: nothing to compare with"))
    elif len(ours):
        _same_users(ours, theirs, "champion")
        results.append(_not_worse_than_champion(draw.interval(ours - theirs), rules))
    return Decision(_outcome(results), len(ours), tuple(results))


def undecided(users: int, rule: str, reason: str) -> Decision:
    """Return the decision that a person has to take, because a rule cannot be computed at all."""
    return Decision("needs_human", users, (RuleResult(rule, "undecided", reason),))


def _outcome(results: list[RuleResult]) -> Outcome:
    verdicts = {result.verdict for result in results}
    if "undecided" in verdicts:
        return "needs_human"
    return "refused" if "failed" in verdicts else "promoted"


def _enough_users(users: int, rules: GateRules) -> RuleResult:
    if users >= rules.min_users:
        return RuleResult("users", "passed", f"{users} users judged, at least {rules.min_users} needed")
    reason = f"{users} users judged, {rules.min_users} needed: too few to tell. Widen the window, or decide by hand"
    return RuleResult("users", "undecided", reason)


def _beats_popularity(difference: Interval, rules: GateRules) -> RuleResult:
    clear = difference.low > 0
    numbers = f"{rules.metric} {difference} against popularity, lower bound must be above 0"
    return RuleResult("popularity", "passed" if clear else "failed", numbers, difference)


def _not_worse_than_champion(difference: Interval, rules: GateRules) -> RuleResult:
    clearly_worse = difference.high < 0
    numbers = f"{rules.metric} {difference} against the champion, upper bound may not be below 0"
    return RuleResult("champion", "failed" if clearly_worse else "passed", numbers, difference)


def _values(metrics: Mapping[str, Values], rules: GateRules, whose: str) -> Values:
    if rules.metric not in metrics:
        raise ContractError(
            f"gate: the {whose}'s metrics hold {sorted(metrics)}, not {rules.metric!r}. Evaluate it with that metric."
        )
    return np.asarray(metrics[rules.metric], dtype=np.float64)


def _same_users(ours: Values, theirs: Values, whose: str) -> None:
    if ours.shape != theirs.shape:
        raise ContractError(
            f"gate: {len(ours)} users of the candidate, {len(theirs)} of the {whose}; expected the same users in the "
            "same order. Evaluate both on one window."
        )


class _Resampler:
    """Bootstrap means of paired differences; every difference sees resamples from the same seed."""

    def __init__(self, users: int, rules: GateRules, rng: np.random.Generator) -> None:
        self._users, self._rules = users, rules
        self._seed = int(rng.integers(2**63))

    def interval(self, difference: Values) -> Interval:
        """Return mean and bounds of a difference (n_users,)."""
        rng = np.random.default_rng(self._seed)
        users, resamples = self._users, self._rules.resamples
        block = max(1, _BLOCK_CELLS // users)
        means = np.concatenate(
            [
                difference[rng.integers(users, size=(min(block, resamples - start), users), dtype=np.int32)].mean(
                    axis=1
                )
                for start in range(0, resamples, block)
            ]
        )
        tail = (1 - self._rules.level) / 2
        low, high = np.quantile(means, [tail, 1 - tail])
        return Interval(float(difference.mean()), float(low), float(high))
