"""Step `gate`: candidate and champion on the same users of a window that neither was fitted on; the decision."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from features.contracts.errors import ContractError
from features.contracts.profiles import Options
from training.bundle.bundle import Bundle
from training.bundle.read import open_bundle
from training.bundle.recommender import Recommender
from training.bundle.registry import TAG_GATE, TAG_GATE_REASONS, RegisteredVersion, Registry
from training.data import Interactions
from training.evaluate import evaluate
from training.evaluation.judged import Judged
from training.evaluation.methods import SERVED, K
from training.gate import Decision, GateRules, RuleResult, decide, undecided
from training.gate_record import log_decision
from training.judging import judged_after
from training.lists import recommend_all
from training.metrics import Floats, per_user
from training.skew.rules import GuardRules
from training.skew.verdict import serving_rule
from training.steps.evaluate import POPULARITY, read_values
from training.steps.folders import fresh_folder
from training.steps.inputs import read_bundle, read_inputs
from training.steps.options import RunOptions
from training.steps.register import registry_of
from training.steps.runner import StepContext, StepResult

log = structlog.get_logger(__name__)

CHAMPION: Final = Path("gate") / "champion"
_MAX_TAG: Final = 4900
"""MLflow takes tags of model versions up to 5,000 characters."""

Values = Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Paired:
    """Per-user values of the same users: what the gate decides on."""

    candidate: Values
    champion: Values | None
    popularity: Values


def run(context: StepContext) -> StepResult:
    """Record the decision on the model version, in MLflow's run and in the log. A refusal is no failure."""
    registry = registry_of(context)
    version = str(context.run.finished("register").results["version"])
    champion = registry.by_alias(context.settings.model_alias)
    rules = GateRules()
    decision = _decision(context, registry, version, champion, rules)
    for rule in decision.rules:
        log.info("gate rule", rule=rule.rule, verdict=rule.verdict, reason=rule.reason)
    (context.run.path / "gate").mkdir(exist_ok=True)
    (context.run.path / "gate" / "decision.json").write_text(json.dumps(decision.to_json(), indent=1) + "\n")
    log_decision(registry, str(context.run.finished("register").results["mlflow_run"]), decision)
    registry.set_tags(version, {TAG_GATE: decision.outcome, TAG_GATE_REASONS: decision.reasons[:_MAX_TAG]})
    against = champion.version if champion is not None else None
    return StepResult(
        f"version {version} {decision.outcome}: {'; '.join(decision.reasons.splitlines())}",
        {"version": version, "decision": decision.outcome, "champion": against, **decision.to_json()},
        decision.outcome,
    )


def _decision(
    context: StepContext, registry: Registry, version: str, champion: RegisteredVersion | None, rules: GateRules
) -> Decision:
    bundle = read_bundle(context)
    if champion is None or champion.version == version:
        paired = Paired(read_values(context.run.path, SERVED), None, read_values(context.run.path, POPULARITY))
    else:
        try:
            served = _open_champion(context, registry, champion)
        except ContractError as error:
            return undecided(0, "champion", f"version {champion.version} cannot be judged beside this one: {error}")
        interactions = read_inputs(context).interactions
        start_us = max(bundle.manifest.trained_until_us, served.manifest.trained_until_us)
        if start_us > int(interactions.at_us[-1]):
            return undecided(0, "users", _no_window(champion, served))
        paired = _pair(interactions, start_us, bundle, served, context.options)
    serving = [] if champion is None else [_serving_path(context, champion)]
    rng = np.random.default_rng(context.options.seed)
    return decide(paired.candidate, paired.champion, paired.popularity, rules, rng, others=serving)


def _serving_path(context: StepContext, champion: RegisteredVersion) -> RuleResult:
    rules = GuardRules(drift_blocks=context.settings.drift_blocks)
    return serving_rule(champion.tags, datetime.now(UTC), rules)


def _no_window(champion: RegisteredVersion, served: Bundle) -> str:
    return (
        f"0 users judged: champion {champion.version} was fitted on data up to {served.manifest.trained_until_us} us, "
        "and this run's snapshot holds nothing later. Train again when there is newer data, or decide by hand"
    )


def _pair(
    interactions: Interactions, start_us: int, candidate: Bundle, champion: Bundle, options: RunOptions
) -> Paired:
    include_seen = not options.exclude_seen
    judged = judged_after(interactions, start_us, candidate.items, include_seen=include_seen)
    ours = evaluate(candidate.recommender, judged, seed=options.seed).values
    theirs = judged_after(interactions, start_us, champion.items, include_seen=include_seen)
    return Paired(ours[SERVED], values_of(champion.recommender, theirs), ours[POPULARITY])


def values_of(recommender: Recommender, judged: Judged) -> dict[str, Floats]:
    """Return every metric of each judged user."""
    options = Options(k=K, include_seen=judged.include_seen)
    found = recommend_all(recommender, judged.history, judged.users, judged.as_of_us, options)
    return per_user(found.items, judged.labels)


def _open_champion(context: StepContext, registry: Registry, champion: RegisteredVersion) -> Bundle:
    if champion.digest is None:
        raise ContractError("it has no tag `digest`, so its files cannot be verified")
    folder = registry.download(champion.version, fresh_folder(context.run.path / CHAMPION))
    return open_bundle(folder, champion.digest)
