"""Guardrails: what the lists show, what the bundle weighs, how fast it answers; each against the champion."""

from training.gating.common import BY_HAND, compared_with
from training.gating.evidence import Champion, Evidence
from training.gating.results import RuleResult
from training.gating.rules import Coverage, Latency, OnFail, PopularityBias, Size

_NO_LISTS = "no lists to look at: nobody can be judged"


def ask_coverage(name: str, rule: Coverage, evidence: Evidence) -> RuleResult:
    """Return whether the first places hold enough different items."""
    champion = _with_lists(name, rule.on_fail, evidence)
    if isinstance(champion, RuleResult):
        return champion
    ours, base = evidence.candidate.shown_items, champion.model.shown_items
    reason = (
        f"{ours:,} different items in the first ten places, the champion shows {base:,}: at least "
        f"{rule.min_ratio:.0%} of that needed"
    )
    met = ours >= rule.min_ratio * base
    return RuleResult.judged(name, rule.on_fail, reason, f"Look at the report's popularity curve, {BY_HAND}", met=met)


def ask_popularity_bias(name: str, rule: PopularityBias, evidence: Evidence) -> RuleResult:
    """Return whether lists lean on popular items not much more than the champion's."""
    champion = _with_lists(name, rule.on_fail, evidence)
    if isinstance(champion, RuleResult):
        return champion
    ours, base = evidence.candidate.average_popularity, champion.model.average_popularity
    reason = (
        f"items in the first ten places are known to {ours:.2%} of the users on average, the champion's to {base:.2%}: "
        f"at most {rule.max_ratio:g} times that allowed"
    )
    met = ours <= rule.max_ratio * base
    return RuleResult.judged(name, rule.on_fail, reason, f"Look at the report's popularity curve, {BY_HAND}", met=met)


def ask_size(name: str, rule: Size, evidence: Evidence) -> RuleResult:
    """Return whether the bundle is not too large."""
    ours, champion = evidence.candidate.size_mb, evidence.champion
    base = None if champion is None else champion.model.size_mb
    reason = f"{ours:,.1f} MB, at most {rule.max_mb:,.0f} allowed"
    if base is not None:
        reason += f"; {ours / base:.2f} times the champion's {base:,.1f} MB, at most {rule.max_ratio:g} times allowed"
    met = ours <= rule.max_mb and (base is None or ours <= rule.max_ratio * base)
    step = f"See that servers have memory and disk for two such bundles, {BY_HAND}"
    return RuleResult.judged(name, rule.on_fail, reason, step, met=met)


def ask_latency(name: str, rule: Latency, evidence: Evidence) -> RuleResult:
    """Return whether a list is made fast enough."""
    ours, champion = evidence.candidate.latency_ms, evidence.champion
    base = None if champion is None else champion.model.latency_ms
    if ours is None:
        return RuleResult(name, "passed", _NO_LISTS, on_fail=rule.on_fail)
    reason = f"{ours:.2f} ms a list, at most {rule.max_ms:g} allowed"
    if base is not None:
        reason += (
            f"; the champion {base:.2f} ms, at most {rule.max_ratio:g} times that above {rule.ignore_below_ms:g} ms"
        )
    slower = base is not None and ours > rule.ignore_below_ms and ours > rule.max_ratio * base
    step = f"Try `python -m benchmarks serving`, smaller budgets or fewer factors, {BY_HAND}"
    return RuleResult.judged(name, rule.on_fail, reason, step, met=ours <= rule.max_ms and not slower)


def _with_lists(name: str, on_fail: OnFail, evidence: Evidence) -> Champion | RuleResult:
    """Return the champion, or what a rule about lists says where there is none, or nobody to make lists for."""
    champion = compared_with(name, on_fail, evidence)
    if isinstance(champion, RuleResult) or evidence.users:
        return champion
    return RuleResult(name, "passed", _NO_LISTS, on_fail=on_fail)
