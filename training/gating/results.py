"""What the gate says: a verdict with numbers for each rule, and one outcome for all."""

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from training.gating.rules import OnFail
from training.gating.table import COMPARED, WORST_FIRST, Outcome
from training.metrics import Estimate

Verdict = Literal["passed", "failed", "undecided", "better", "not worse", "worse", "too few users"]

PROMOTE: Final = "python -m training promote VERSION"
"""How a person decides; `Decision.about` puts the number in."""
ORDER: Final = {outcome: place for place, outcome in enumerate(WORST_FIRST)}
"""From worst to best."""
_FAILED: Final = frozenset({"failed", "worse"})
_UNDECIDED: Final = frozenset({"undecided", "too few users"})


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference with its interval of 95 %, in units of a metric, and the line that it is held against.

    Attributes
    ----------
    name
        What is compared.
    difference
        Mean over users, and the interval's ends.
    line
        What the difference may not fall below: 0, or a margin below it.
    bound
        Lower bound of the difference, one-sided, of 95 %, where that is what is held against the line.
    met
        Whether it holds, where a rule looks at several; None where the rule's verdict is about this one.
    """

    name: str
    difference: Estimate
    line: float
    bound: float | None = None
    met: bool | None = None


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one rule said, and why, with its numbers.

    Attributes
    ----------
    rule, verdict
        Name, and word.
    reason
        With the numbers.
    next_step
        What to do about it; empty where nothing is to be done.
    on_fail
        What it means that it is not met.
    intervals
        Differences behind it, the one that decided first.
    needed
        Users with which the verdict would not be `too few users`; None where users were no question.
    """

    rule: str
    verdict: Verdict
    reason: str
    next_step: str = ""
    on_fail: OnFail = "refuse"
    intervals: tuple[Interval, ...] = ()
    needed: int | None = None

    @classmethod
    def judged(
        cls, rule: str, on_fail: OnFail, reason: str, step: str, intervals: tuple[Interval, ...] = (), *, met: bool
    ) -> "RuleResult":
        """Return that a rule is met, or that it is not and the next step."""
        return cls(rule, "passed" if met else "failed", reason, "" if met else step, on_fail, intervals)

    @property
    def outcome(self) -> Outcome:
        """Return what this rule alone makes of the version; what is shown to be worse is always refused."""
        if self.verdict == "worse":
            return "refused"
        if self.on_fail == "warn" or self.verdict not in _FAILED | _UNDECIDED:
            return "promoted"
        return "refused" if self.verdict in _FAILED and self.on_fail == "refuse" else "needs_human"

    @property
    def met(self) -> bool:
        """Return whether it is met."""
        return self.verdict not in _FAILED | _UNDECIDED

    def to_json(self) -> dict[str, Any]:
        """Return words and numbers as JSON values; numbers that there are not are left out."""
        found: dict[str, Any] = {"rule": self.rule, "verdict": self.verdict, "outcome": self.outcome}
        found |= {"reason": self.reason, "next": self.next_step, "on_fail": self.on_fail}
        if self.needed is not None:
            found["needed"] = self.needed
        if not self.intervals:
            return found
        first = self.intervals[0]
        numbers = {"difference": first.difference.mean, "low": first.difference.low, "high": first.difference.high}
        return found | numbers | {"line": first.line}


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's decision and what every rule said."""

    outcome: Outcome
    users: int
    rules: tuple[RuleResult, ...]

    @classmethod
    def of(cls, users: int, rules: tuple[RuleResult, ...]) -> "Decision":
        """Return the decision that rules lead to: the worst that any of them says."""
        return cls(min((rule.outcome for rule in rules), key=ORDER.__getitem__), users, rules)

    def about(self, version: str) -> "Decision":
        """Return the decision with the version's number in the commands of its next steps."""
        command = PROMOTE.replace("VERSION", version)
        rules = tuple(replace(rule, next_step=rule.next_step.replace(PROMOTE, command)) for rule in self.rules)
        return replace(self, rules=rules)

    @property
    def reasons(self) -> str:
        """Return one line per rule, what decided first, as the model version's tag holds them."""
        told = sorted(self.rules, key=lambda rule: (ORDER[rule.outcome], rule.met))
        return "\n".join(f"{rule.rule}: {rule.verdict}: {rule.reason}" for rule in told)

    @property
    def against_champion(self) -> RuleResult | None:
        """Return the first rule that compared users with the champion, None where none did."""
        return next((rule for rule in self.rules if rule.verdict in COMPARED), None)

    def to_json(self) -> dict[str, Any]:
        """Return the decision as JSON values."""
        compared = self.against_champion
        return {
            "outcome": self.outcome,
            "verdict": None if compared is None else compared.verdict,
            "users": self.users,
            "needed": None if compared is None else compared.needed,
            "rules": [rule.to_json() for rule in self.rules],
        }
