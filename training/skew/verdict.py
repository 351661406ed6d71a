"""What a finding of skew means for a promotion: tags of the version that serves, read as one rule of the gate."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from training.gating.results import RuleResult
from training.skew.rules import GuardRules

TAG_SKEW: Final = "skew"
TAG_SKEW_REASONS: Final = "skew_reasons"
TAG_SKEW_AT: Final = "skew_at"
TAG_SKEW_RUN: Final = "skew_run"

RULE: Final = "serving path"


def serving_rule(tags: Mapping[str, str], now: datetime, rules: GuardRules) -> RuleResult:
    """Return whether what serves now is as it was trained, as far as its last check knows.

    A new version would be served by the same code: where that is skewed, offline figures say little of what users
    will get, and a person decides. It does not depend on the candidate.

    Parameters
    ----------
    tags
        Of the version that serves.
    """
    status, at = tags.get(TAG_SKEW), _at(tags.get(TAG_SKEW_AT))
    if status is None or at is None:
        return RuleResult(RULE, "passed", "never checked for skew (`python -m training skew`)")
    checked = f"checked {at:%Y-%m-%d %H:%M} UTC: {status}"
    if now - at > timedelta(days=rules.days):
        return RuleResult(RULE, "passed", f"{checked}, which is more than {rules.days:g} days ago and counts no more")
    if status == "skewed" or (status == "drifted" and rules.drift_blocks):
        why = tags.get(TAG_SKEW_REASONS, "").replace("\n", "; ")
        step = "Mend it and check again (`python -m training skew`), or decide by hand"
        return RuleResult(RULE, "failed", f"{checked}. {why}", step, "human")
    return RuleResult(RULE, "passed", checked)


def _at(told: str | None) -> datetime | None:
    """Return an aware instant from a tag, None where it is none."""
    try:
        at = datetime.fromisoformat(told or "")
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
