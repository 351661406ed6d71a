"""What rules of several kinds ask and say."""

from typing import Final

import numpy as np

from features.contracts.errors import ContractError
from training.gating.evidence import Champion, Evidence, Values
from training.gating.results import PROMOTE, RuleResult
from training.gating.rules import OnFail
from training.metrics import Floats

FIRST: Final = "no version is served yet: nothing to compare with"
BY_HAND: Final = f"or decide by hand: `{PROMOTE}`"


def compared_with(name: str, on_fail: OnFail, evidence: Evidence) -> Champion | RuleResult:
    """Return the champion, or what a rule says where there is none to compare with."""
    if evidence.champion is not None:
        return evidence.champion
    if not evidence.why_no_champion:
        return RuleResult(name, "passed", FIRST, on_fail=on_fail)
    return RuleResult(name, "undecided", evidence.why_no_champion, f"Mend that and train again, {BY_HAND}", on_fail)


def values_of(values: Values, metric: str, whose: str) -> Floats:
    """Return a metric's values.

    Raises
    ------
    ContractError
        If they were not computed.
    """
    if metric not in values:
        raise ContractError(
            f"gate: the {whose}'s metrics hold {sorted(values)}, not {metric!r}. Evaluate it with that metric."
        )
    return np.asarray(values[metric], dtype=np.float64)


def same_users(ours: Floats, theirs: Floats, whose: str) -> None:
    """Raise `ContractError` where values are of different numbers of users."""
    if ours.shape != theirs.shape:
        raise ContractError(
            f"gate: {len(ours)} users of the candidate, {len(theirs)} of the {whose}; expected the same users in the "
            "same order. Evaluate both on one window."
        )
