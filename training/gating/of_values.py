"""Rules about metrics of the judged users: a minimum, popularity, the champion, parts of the users and labels."""

from collections.abc import Iterator, Mapping
from typing import Final

from training.gating.common import BY_HAND, compared_with, same_users, values_of
from training.gating.evidence import Evidence
from training.gating.power import Margin
from training.gating.results import Interval, RuleResult
from training.gating.rules import BetterThanPopularity, Minimum, NotWorseThanChampion, OnFail, Segments
from training.gating.told import MOST_USERS, at, counted, shown
from training.gating.verdicts import Comparison, Sampling, compare, estimates
from training.metrics import Floats

_MORE_USERS: Final = f"Raise `window_users` in the gate's file, which holds from the next training on, {BY_HAND}"


def ask_minimum(name: str, rule: Minimum, evidence: Evidence, sampling: Sampling) -> RuleResult:
    """Return whether a metric's mean reaches its minimum."""
    values = values_of(evidence.candidate.values, rule.metric, "candidate")
    if (few := _too_few(name, rule.on_fail, evidence, sampling)) is not None:
        return few
    mean = float(values.mean())
    reason = f"{rule.metric} {mean:.4f}, at least {rule.at_least:g} needed"
    step = "Look at the report of the run: such a model finds next to nothing"
    return RuleResult.judged(name, rule.on_fail, reason, step, met=mean >= rule.at_least)


def ask_popularity(name: str, rule: BetterThanPopularity, evidence: Evidence, sampling: Sampling) -> RuleResult:
    """Return whether a metric is clearly better than popularity's."""
    ours = values_of(evidence.candidate.values, rule.metric, "candidate")
    base = values_of(evidence.popularity, rule.metric, "popularity")
    same_users(ours, base, "popularity")
    if (few := _too_few(name, rule.on_fail, evidence, sampling)) is not None:
        return few
    [difference] = estimates((ours - base,), sampling)
    reason = f"{rule.metric} {shown(difference)} against popularity, lower bound must be above 0"
    step = "The model has learned no tastes: look at the data (`python -m features doctor`) and at the run's report"
    interval = Interval(f"{rule.metric} against popularity", difference, 0.0)
    return RuleResult.judged(name, rule.on_fail, reason, step, (interval,), met=difference.low > 0)


def ask_champion(name: str, rule: NotWorseThanChampion, evidence: Evidence, sampling: Sampling) -> RuleResult:
    """Return better, not worse, worse or too few users."""
    champion = compared_with(name, rule.on_fail, evidence)
    if isinstance(champion, RuleResult):
        return champion
    ours = values_of(evidence.candidate.values, rule.metric, "candidate")
    base = values_of(champion.model.values, rule.metric, "champion")
    same_users(ours, base, "champion")
    if not len(ours):
        return RuleResult(name, "too few users", _nobody(evidence), _next_window(), rule.on_fail)
    found = compare(ours, base, _margins(rule), sampling)
    interval = Interval(f"{rule.metric} against the champion", found.difference, -found.allowed, found.bound)
    # More users change nothing about a version that is shown to be worse.
    needed = int(found.needed) if found.word != "worse" and found.needed < MOST_USERS else None
    return RuleResult(name, found.word, _compared(rule, found), _after(found), rule.on_fail, (interval,), needed)


def ask_segments(name: str, rule: Segments, evidence: Evidence, sampling: Sampling) -> RuleResult:
    """Return whether nowhere clearly more than the margin is lost; parts of few users are left out.

    Undecided where that leaves none; of twice `min_users` one is left, for each has labels of the head or of the tail.
    """
    champion = compared_with(name, rule.on_fail, evidence)
    if isinstance(champion, RuleResult):
        return champion
    found = list(_of_segments(rule, champion.segments, sampling))
    if not found:
        reason = f"none of {len(champion.segments)} parts holds {sampling.min_users} users: too few to tell"
        return RuleResult(name, "undecided", reason, _MORE_USERS, rule.on_fail)
    bad = [part for part in found if not part.met]
    told = "; ".join(_lost(entry) for entry in bad[:3]) or "nowhere clearly more lost"
    parts = f"{len(found)} parts of at least {sampling.min_users} users"
    reason = f"{parts}, {rule.margin:.0%} of {rule.metric} may be lost in each: {told}"
    step = f"Look at what these users or items lack in the training data, {BY_HAND}"
    intervals = (*bad, *(part for part in found if part.met))
    return RuleResult.judged(name, rule.on_fail, reason, step, intervals, met=not bad)


def _too_few(name: str, on_fail: OnFail, evidence: Evidence, sampling: Sampling) -> RuleResult | None:
    if not evidence.users:
        return RuleResult(name, "undecided", _nobody(evidence), _next_window(), on_fail)
    if evidence.users >= sampling.min_users:
        return None
    reason = f"{evidence.users} users judged, {sampling.min_users} needed: too few to tell"
    return RuleResult(name, "undecided", reason, _MORE_USERS, on_fail)


def _nobody(evidence: Evidence) -> str:
    return f"0 users judged: the data of this run hold no one who came back after {at(evidence.window_start_us)}"


def _next_window() -> str:
    return f"Train again when there is newer data, {BY_HAND}"


def _margins(rule: NotWorseThanChampion) -> list[Margin]:
    sizes = ((rule.margin, True), (rule.absolute_margin, False))
    return [Margin(size, relative) for size, relative in sizes if size is not None]


def _after(found: Comparison) -> str:
    """Return the next step."""
    if found.word == "worse":
        return "The champion stays; the run's report shows where the new version is better and where not"
    if found.word != "too few users":
        return ""
    if found.needed >= MOST_USERS:
        return f"The new version finds nothing: look at the run's report, {BY_HAND}"
    wider = f"Set `window_users: {found.needed:.0f}` in the gate's file, which holds from the next training on"
    return f"{wider}, allow a larger margin, {BY_HAND}"


def _compared(rule: NotWorseThanChampion, found: Comparison) -> str:
    means = f"{rule.metric} {found.reference + found.difference.mean:.4f} against the champion's {found.reference:.4f}"
    allowed = f"{found.allowed:.4f} may be lost, lower bound {found.bound:+.4f}"
    users = f"{found.users:,} users judged"
    if found.word in {"not worse", "too few users"}:
        users += f", {counted(found.needed)} needed"
    return f"{means}: {shown(found.difference)}; {allowed}; {users}"


def _of_segments(
    rule: Segments, segments: Mapping[str, Mapping[str, tuple[Floats, Floats]]], sampling: Sampling
) -> Iterator[Interval]:
    """Yield each part of enough users, met where not clearly more than the margin is lost in it."""
    margin = Margin(rule.margin)
    for part, values in segments.items():
        ours, theirs = values[rule.metric]
        if len(ours) < sampling.min_users:
            continue
        difference, left = estimates((ours - theirs, margin.contrast(ours, theirs)), sampling)
        yield Interval(f"{rule.metric}, {part}", difference, difference.mean - left.mean, met=left.high >= 0)


def _lost(part: Interval) -> str:
    return f"{part.name} {shown(part.difference)}, at most {-part.line:.4f} may be lost"
