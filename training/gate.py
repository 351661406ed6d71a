"""The gate: whether a candidate may be served, decided by rules on paired values of the same users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from features.contracts.errors import ContractError
from training.metrics import Estimate, Floats, bootstrap_mean

Outcome = Literal["promoted", "refused", "needs_human"]
Verdict = Literal["passed", "failed", "undecided"]


@dataclass(frozen=True, slots=True)
class GateRules:
    """What the gate asks for.

    Attributes
    ----------
    metric
        Name of the per-user metric that decides.
    min_users
        With fewer judged users an interval says too little: a person decides.
    resamples
        Bootstrap resamples of users behind each interval of 95 %.
    """

    metric: str = "ndcg@10"
    min_users: int = 100
    resamples: int = 2000


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one rule said, and why, with its numbers."""

    rule: str
    verdict: Verdict
    reason: str
    difference: Estimate | None = None

    def to_json(self) -> dict[str, str | float]:
        """Return the rule's words and numbers as JSON values."""
        words: dict[str, str | float] = {"rule": self.rule, "verdict": self.verdict, "reason": self.reason}
        if self.difference is None:
            return words
        return words | {"difference": self.difference.mean, "low": self.difference.low, "high": self.difference.high}


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

    def to_json(self) -> dict[str, Any]:
        """Return the decision as JSON values."""
        return {"outcome": self.outcome, "users": self.users, "rules": [rule.to_json() for rule in self.rules]}


def decide(
    candidate: Mapping[str, Floats],
    champion: Mapping[str, Floats] | None,
    popularity: Mapping[str, Floats],
    rules: GateRules,
    rng: np.random.Generator,
    *,
    others: Sequence[RuleResult] = (),
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
    others
        What rules said that do not look at the candidate's values.

    Raises
    ------
    ContractError
        If the rules' metric is missing or the users differ in number.
    """
    ours, base = _values(candidate, rules, "candidate"), _values(popularity, rules, "popularity")
    theirs = None if champion is None else _values(champion, rules, "champion")
    _same_users(ours, base, "popularity")
    results = [_enough_users(len(ours), rules)]
    seed = int(rng.integers(2**32))
    if len(ours):
        results.append(_beats_popularity(bootstrap_mean(ours - base, seed, rules.resamples), rules))
    if theirs is None:
        results.append(RuleResult("champion", "passed", "no version is served yet: nothing to compare with"))
    elif len(ours):
        _same_users(ours, theirs, "champion")
        results.append(_not_worse_than_champion(bootstrap_mean(ours - theirs, seed, rules.resamples), rules))
    results += others
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


def _beats_popularity(difference: Estimate, rules: GateRules) -> RuleResult:
    clear = difference.low > 0
    numbers = f"{rules.metric} {_shown(difference)} against popularity, lower bound must be above 0"
    return RuleResult("popularity", "passed" if clear else "failed", numbers, difference)


def _not_worse_than_champion(difference: Estimate, rules: GateRules) -> RuleResult:
    clearly_worse = difference.high < 0
    numbers = f"{rules.metric} {_shown(difference)} against the champion, upper bound may not be below 0"
    return RuleResult("champion", "failed" if clearly_worse else "passed", numbers, difference)


def _shown(difference: Estimate) -> str:
    return f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"


def _values(metrics: Mapping[str, Floats], rules: GateRules, whose: str) -> Floats:
    if rules.metric not in metrics:
        raise ContractError(
            f"gate: the {whose}'s metrics hold {sorted(metrics)}, not {rules.metric!r}. Evaluate it with that metric."
        )
    return np.asarray(metrics[rules.metric], dtype=np.float64)


def _same_users(ours: Floats, theirs: Floats, whose: str) -> None:
    if ours.shape != theirs.shape:
        raise ContractError(
            f"gate: {len(ours)} users of the candidate, {len(theirs)} of the {whose}; expected the same users in the "
            "same order. Evaluate both on one window."
        )
