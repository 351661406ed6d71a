"""Rules about what a version was trained on: as it was taken, no leak, fresh, enough, with the champion's items."""

from dataclasses import replace

from features.contracts.statistics import DAY_US
from training.gating.common import BY_HAND, FIRST, compared_with
from training.gating.evidence import Evidence, Held
from training.gating.results import RuleResult
from training.gating.rules import (
    CategoryItems,
    DataDoctor,
    Freshness,
    Items,
    NoLeak,
    ServingPath,
    SnapshotIntact,
    Volume,
)
from training.gating.told import at

_NAMED = 3
"""Categories that a sentence names."""


def ask_snapshot(name: str, rule: SnapshotIntact, evidence: Evidence) -> RuleResult:
    """Return whether the run's data are those that were taken."""
    reason = evidence.changed or "the run's data are as they were taken"
    step = "Start another run: what this one learned, and what it is judged by, is not what landed"
    return RuleResult.judged(name, rule.on_fail, reason, step, met=not evidence.changed)


def ask_leak(name: str, rule: NoLeak, evidence: Evidence) -> RuleResult:
    """Return whether nothing of the judging window was learned, as far as the bundle tells."""
    reason = "; ".join(evidence.leaks) or "nothing in the bundle is of the judging window"
    step = "Its figures mean nothing. Find what reads past the end of training, and train again"
    return RuleResult.judged(name, rule.on_fail, reason, step, met=not evidence.leaks)


def ask_freshness(name: str, rule: Freshness, evidence: Evidence) -> RuleResult:
    """Return whether training ended close enough to where the window begins."""
    until_us, start_us = evidence.candidate.trained_until_us, evidence.window_start_us
    days = (start_us - until_us) / DAY_US
    behind = f"{days:.1f} days before {at(start_us)}, where the judging window begins"
    reason = f"trained until {at(until_us)}, {behind}: at most {rule.days:g} days allowed"
    step = "The champion knows newer data. Train again on what has landed since, with a snapshot of now"
    return RuleResult.judged(name, rule.on_fail, reason, step, met=days <= rule.days)


def ask_volume(name: str, rule: Volume, evidence: Evidence) -> RuleResult:
    """Return whether enough was learned from: of what there was, and against the champion."""
    ours, there = evidence.candidate.interactions, evidence.interactions_before
    reason = f"learned from {ours:,} of the {there:,} interactions before its end of training"
    behind_champion = 0
    if evidence.champion is not None:
        behind_champion = evidence.champion.model.interactions
        reason += f", the champion from {behind_champion:,}"
    least = rule.min_share * max(there, behind_champion)
    step = f"See whether the snapshot is whole (`python -m features reconcile`); if less data is meant, {BY_HAND[3:]}"
    reason += f": at least {least:,.0f} needed"
    return RuleResult.judged(name, rule.on_fail, reason, step, met=ours >= least)


def ask_items(name: str, rule: Items, evidence: Evidence) -> RuleResult:
    """Return whether the champion's items are known."""
    champion = compared_with(name, rule.on_fail, evidence)
    if isinstance(champion, RuleResult):
        return champion
    items = champion.items
    reason = f"knows {_told(items)} of the champion's items, at least {rule.min_share:.0%} needed"
    return RuleResult.judged(name, rule.on_fail, reason, _missing_items(), met=items.share >= rule.min_share)


def ask_categories(name: str, rule: CategoryItems, evidence: Evidence) -> RuleResult:
    """Return whether the champion's items are known in each of its larger categories."""
    champion = compared_with(name, rule.on_fail, evidence)
    if isinstance(champion, RuleResult):
        return champion
    large = {category: held for category, held in champion.categories.items() if held.of >= rule.min_items}
    bad = sorted((held.share, category) for category, held in large.items() if held.share < rule.min_share)
    named = "; ".join(f"{category}: {_told(large[category])}" for _, category in bad[:_NAMED])
    reason = f"{len(bad)} of the champion's {len(large)} categories hold less than {rule.min_share:.0%} of its items"
    return RuleResult.judged(name, rule.on_fail, f"{reason}: {named}" if bad else reason, _missing_items(), met=not bad)


def ask_serving_path(name: str, rule: ServingPath, evidence: Evidence) -> RuleResult:
    """Return what the last check of skew says of the version that serves."""
    if evidence.serving_path is None:
        return RuleResult(name, "passed", FIRST, on_fail=rule.on_fail)
    return replace(evidence.serving_path, rule=name, on_fail=rule.on_fail)


def ask_data_doctor(name: str, rule: DataDoctor, evidence: Evidence) -> RuleResult:
    """Return whether no check of what has landed failed with the rule's severity."""
    if evidence.doctor is None:
        return RuleResult(name, "undecided", "the data doctor was not asked", "Judge the run anew", rule.on_fail)
    severities = {"block"} if rule.severity == "block" else {"warn", "block"}
    odd = [finding for finding in evidence.doctor.findings if finding.outcome in {"warn", "block"}]
    told = [f"{finding.name} ({finding.outcome}): {finding.told}" for finding in odd]
    reason = f"{len(evidence.doctor.findings)} checks, {len(odd)} found something" + "".join(f"; {one}" for one in told)
    counted = [finding for finding in odd if finding.outcome in severities]
    step = "; ".join(finding.next_step for finding in counted)
    return RuleResult.judged(name, rule.on_fail, reason, step, met=not counted)


def _told(items: Held) -> str:
    return f"{items.known:,} of {items.of:,} ({items.share:.1%})"


def _missing_items() -> str:
    return f"See which items the snapshot lacks (`items.parquet` of the run); if they are gone for good, {BY_HAND[3:]}"
