"""Step `gate`: candidate and champion on the same users of a window that neither was fitted on; the decision."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from features.admin.doctor import Diagnosis, diagnose
from features.admin.doctor_config import load_config
from features.contracts.errors import ContractError
from features.contracts.weights_file import load_weights
from features.db.connection import connect
from features.settings import Settings
from training.bundle.bundle import Bundle
from training.bundle.challenger import refresh_challenger
from training.bundle.read import open_bundle
from training.bundle.registry import Registry
from training.bundle.versions import TAG_GATE, TAG_GATE_REASONS, RegisteredVersion, RegistryError
from training.describing import describe
from training.diff.compute import Data
from training.diff.run import data_of
from training.diff.sides import Side
from training.evaluation.methods import SERVED
from training.gate import decide
from training.gate_record import log_decision, tags_of, write_decision
from training.gating.evidence import Evidence
from training.gating.gathering import Candidate, gather
from training.gating.results import Decision, RuleResult
from training.gating.rules import DataDoctor, GateRules, Latency, ServingPath
from training.gating.rules_file import load_rules
from training.gating.told import beside_champion
from training.gating.window import Listed
from training.judging import read_by
from training.skew.rules import GuardRules
from training.skew.verdict import serving_rule
from training.steps.against_champion import diff_against_champion
from training.steps.evaluate import LISTS, POPULARITY, read_values
from training.steps.folders import fresh_folder
from training.steps.frozen import SnapshotGoneError, verify_snapshot
from training.steps.inputs import read_bundle, trained_until_us
from training.steps.register import registry_of
from training.steps.runner import StepContext, StepResult

FOLDER: Final = Path("gate")
_CHAMPION: Final = Path("champion")
_MAX_TAG: Final = 4900
"""MLflow takes tags of model versions up to 5,000 characters."""


def run(context: StepContext) -> StepResult:
    """Record the decision on the model version, in MLflow's run and in the log. A refusal is no failure."""
    rules = load_rules(context.settings.gate)
    registered = context.run.finished("register").results
    registry, version = registry_of(context), str(registered["version"])
    champion = registry.by_alias(context.settings.model_alias)
    if champion is not None and champion.version == version:
        champion = None
    served, why_not = _open_champion(context, registry, champion)
    data = data_of(context.run)
    evidence = replace(_evidence(context, data, champion, served, rules), why_no_champion=why_not)
    decision = decide(evidence, rules, context.options.seed).about(version)
    told = _told(version, champion, decision)
    folder = fresh_folder(context.run.path / FOLDER)
    write_decision(folder, decision, told, rules)
    against = told["champion"]
    log_decision(registry, str(registered["mlflow_run"]), decision, folder, against)
    reasons = {TAG_GATE_REASONS: decision.reasons[:_MAX_TAG]}
    registry.set_tags(version, {TAG_GATE: decision.outcome, **reasons, **tags_of(decision, against)})
    pages: dict[str, Any] = {"experiment": registry.experiment(str(registered["mlflow_run"]))}
    if champion is not None and served is not None:
        pages["diff"] = diff_against_champion(context, registry, Side(champion, served), data)
    refresh_challenger(registry, context.settings.model_alias)
    describe(registry, version, context.settings.model_alias)
    return StepResult(_summary(version, champion, decision), told | pages, decision.outcome)


def _evidence(
    context: StepContext, data: Data, champion: RegisteredVersion | None, served: Bundle | None, rules: GateRules
) -> Evidence:
    erased, changed = _since_taken(context)
    evidence = gather(
        data.loaded.interactions,
        _candidate(context, erased),
        served,
        items_file=data.items_file,
        reads=lambda bundle: read_by(data.loaded, bundle.parts.weights),
        include_seen=not context.options.exclude_seen,
        seed=context.options.seed,
        timed=bool(rules.of_kind(Latency)),
    )
    return replace(
        evidence,
        changed=changed,
        serving_path=None if champion is None else _serving_path(context.settings, champion, rules),
        doctor=_doctor(context.settings) if rules.of_kind(DataDoctor) else None,
    )


def _since_taken(context: StepContext) -> tuple[int, str]:
    """Return how many interactions were erased since the snapshot was taken, and how else it differs from that."""
    try:
        return verify_snapshot(context.run).erased_rows, ""
    except SnapshotGoneError as error:
        return 0, str(error)


def _candidate(context: StepContext, erased: int) -> Candidate:
    """Return the run's bundle with what the step `evaluate` kept of it."""
    path = context.run.path
    bare = Candidate(read_bundle(context), trained_until_us(context), erased)
    if erased or not (path / LISTS).exists():
        return bare
    listed = Listed(np.load(path / LISTS, allow_pickle=False), read_values(path, SERVED))
    return replace(bare, listed=listed, popularity=read_values(path, POPULARITY))


def _open_champion(
    context: StepContext, registry: Registry, champion: RegisteredVersion | None
) -> tuple[Bundle | None, str]:
    """Return what serves, or why it cannot be judged."""
    if champion is None:
        return None, ""
    unfit = f"version {champion.version} cannot be judged beside this one"
    if champion.digest is None:
        return None, f"{unfit}: it has no tag `digest`, so its files cannot be verified"
    try:
        folder = registry.download(champion.version, fresh_folder(context.run.path / _CHAMPION))
        return open_bundle(folder, champion.digest), ""
    except (ContractError, RegistryError) as error:
        return None, f"{unfit}: {error}"


def _serving_path(settings: Settings, champion: RegisteredVersion, rules: GateRules) -> RuleResult:
    guard = GuardRules(drift_blocks=settings.drift_blocks)
    days = max((rule.days for rule in rules.of_kind(ServingPath)), default=guard.days)
    return serving_rule(champion.tags, datetime.now(UTC), replace(guard, days=days))


def _doctor(settings: Settings) -> Diagnosis:
    config, said = load_config(settings.doctor), load_weights(settings.action_weights)
    with connect(settings, name="gate", statement_timeout_s=600) as connection:
        return diagnose(connection, config, said, datetime.now(UTC))


def _told(version: str, champion: RegisteredVersion | None, decision: Decision) -> dict[str, Any]:
    """Return the decision as the record of the step holds it."""
    against = None if champion is None else champion.version
    return {"version": version, "decision": decision.outcome, "champion": against, **decision.to_json()}


def _summary(version: str, champion: RegisteredVersion | None, decision: Decision) -> str:
    """Return one line: the outcome, what stood in its way, and what was found against the champion."""
    stopped = [rule for rule in decision.rules if rule.outcome != "promoted"]
    compared = decision.against_champion
    told = [f"{rule.rule}: {rule.verdict}: {rule.reason}" for rule in stopped]
    if not told and compared is not None and champion is not None:
        told = [f"{beside_champion(compared.verdict, champion.version)}: {compared.reason}"]
    return f"version {version} {decision.outcome}: {'; '.join(told) or f'all {len(decision.rules)} rules met'}"
