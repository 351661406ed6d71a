"""The gate: whether a candidate may be served, decided by rules that are data on evidence that was gathered before.

Each rule of `training/gating/gate.yaml` gives a verdict and, by its `on_fail`, an outcome; the decision is the worst
of them (refused < needs_human < promoted). No verdict gets worse when a value of the candidate rises or one of the
champion falls, and so the decision does not: see `training.gating.verdicts`.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from training.gating import of_lists, of_training, of_values, rules
from training.gating.common import BY_HAND
from training.gating.evidence import Evidence
from training.gating.results import Decision, RuleResult
from training.gating.verdicts import Sampling

_Kind = TypeVar("_Kind", bound=rules.Rule)
_Ask = Callable[[str, Any, Evidence, Sampling], RuleResult]


def _without_users(ask: Callable[[str, _Kind, Evidence], RuleResult]) -> _Ask:
    return lambda name, rule, evidence, _: ask(name, rule, evidence)


_ASK: Final[dict[type[Any], _Ask]] = {
    rules.SnapshotIntact: _without_users(of_training.ask_snapshot),
    rules.NoLeak: _without_users(of_training.ask_leak),
    rules.Freshness: _without_users(of_training.ask_freshness),
    rules.Volume: _without_users(of_training.ask_volume),
    rules.Items: _without_users(of_training.ask_items),
    rules.CategoryItems: _without_users(of_training.ask_categories),
    rules.Minimum: of_values.ask_minimum,
    rules.BetterThanPopularity: of_values.ask_popularity,
    rules.NotWorseThanChampion: of_values.ask_champion,
    rules.Segments: of_values.ask_segments,
    rules.Coverage: _without_users(of_lists.ask_coverage),
    rules.PopularityBias: _without_users(of_lists.ask_popularity_bias),
    rules.Size: _without_users(of_lists.ask_size),
    rules.Latency: _without_users(of_lists.ask_latency),
    rules.ServingPath: _without_users(of_training.ask_serving_path),
    rules.DataDoctor: _without_users(of_training.ask_data_doctor),
}
_ONLY_BETTER: Final = "promote"


def decide(evidence: Evidence, asked: rules.GateRules, seed: int) -> Decision:
    """Return whether the candidate may be served.

    Parameters
    ----------
    seed
        Of the resamples, which depend on it and on the number of users only.

    Raises
    ------
    ContractError
        If a rule's metric is missing or the users of two models differ in number.
    """
    sampling = Sampling(seed, asked.resamples, asked.min_users, asked.power)
    results = [_ASK[type(rule)](name, rule, evidence, sampling) for name, rule in asked.rules.items()]
    decision = Decision.of(evidence.users, tuple(results))
    if asked.promote == "not_worse":
        return decision
    return Decision.of(evidence.users, (*results, _only_better(decision)))


def _only_better(decision: Decision) -> RuleResult:
    """Return whether the version is better than the champion, where only that is promoted; a first one may serve."""
    compared = decision.against_champion
    if compared is None or compared.verdict == "better":
        return RuleResult(_ONLY_BETTER, "passed", "only what is better than the champion is promoted by itself")
    reason = f"only what is better is promoted by itself (`promote: better`), and this is {compared.verdict!r}"
    return RuleResult(_ONLY_BETTER, "undecided", reason, f"Keep the champion, {BY_HAND}")
