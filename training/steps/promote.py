"""Step `promote`: the alias moves to the new version if the gate and the run's options allow it, else nothing moves."""

from features.audit import account
from features.contracts.errors import MarqueeError
from features.contracts.moves import Moved
from features.db.connection import connect
from features.embedding.encoders import keep_only
from features.moves import Mover, Moves
from features.settings import Settings
from training.bundle.aliases import ServedAlias
from training.bundle.registry import Registry
from training.bundle.versions import TAG_ENCODER
from training.describing import describe
from training.nudging import nudge
from training.steps.approval import Answer
from training.steps.register import registry_of
from training.steps.runner import StepContext, StepResult
from training.steps.state import KEPT, PROMOTED, StepRecord


def run(context: StepContext) -> StepResult:
    """Move the alias, or say why it stays."""
    gate = context.run.finished("gate")
    version = str(gate.results["version"])
    registry = registry_of(context)
    if context.answer is not None:
        registry.set_tags(version, context.answer.tags())
        describe(registry, version, context.settings.model_alias)
    if (why := _refusal(context, gate, version)) is not None:
        return _stays(context, version, why)
    pointer = ServedAlias(registry, context.settings.model_alias)
    judged_beside = gate.results.get("champion")
    try:
        moved = Moves(context.settings, pointer).make(
            "promote", lambda: _move(pointer, version, judged_beside), _mover(context), wanted=version, once=True
        )
    except _OvertakenError as error:
        return _stays(context, version, str(error))
    if moved.after != version:
        return _stays(context, version, _since(version, moved.after))
    nudge(context.settings)
    _keep_encoders(context.settings, registry)
    was = f", was {moved.before}" if moved.before is not None else ""
    summary = f"alias {context.settings.model_alias!r} -> version {version}{was}{_approved(context.answer)}"
    return StepResult(summary, {"version": version, "from": moved.before}, PROMOTED)


class _OvertakenError(MarqueeError):
    """Another version serves than the gate judged beside."""


def _refusal(context: StepContext, gate: StepRecord, version: str) -> str | None:
    """Return why the alias may not move, None where it may."""
    by_hand = f"`python -m training promote {version}` or Airflow's `promote_model` moves it"
    if not context.options.promote:
        return f"this run was asked not to promote; {by_hand}"
    if gate.outcome == "refused":
        return f"the gate said refused. {gate.summary}"
    answer = context.answer
    if answer is not None and not answer.approves:
        return f"{answer.by} rejected it{': ' + answer.reason if answer.reason else ''}; {by_hand}"
    if answer is None and gate.outcome != "promoted":
        return f"the gate said {gate.outcome}, and nobody was asked; {by_hand}. {gate.summary}"
    return None


def _move(pointer: ServedAlias, version: str, judged_beside: str | None) -> Moved:
    """Return the move, made where the version that serves is the one that the gate, and who approved, looked at."""
    now = pointer.version()
    if now is not None and now != version == pointer.previous():
        raise _OvertakenError(_since(version, now))
    if now not in {version, judged_beside}:
        raise _OvertakenError(
            f"version {now} serves by now, and the gate judged beside {judged_beside or 'none'}. Train again, or "
            f"decide by hand: `python -m training promote {version}`"
        )
    return pointer.promote(version)


def _since(version: str, now: str) -> str:
    """Return what is said where a run is tried again after somebody has moved the alias on from its version."""
    return (
        f"version {version} has served, and somebody let version {now} serve since. If it shall serve again: "
        f"`python -m training promote {version}`"
    )


def _mover(context: StepContext) -> Mover:
    answer = context.answer
    if answer is None:
        return Mover(account(), "the gate said promoted", context.run.run)
    return Mover(answer.by, f"approved{': ' + answer.reason if answer.reason else ''}", context.run.run)


def _approved(answer: Answer | None) -> str:
    return "" if answer is None else f", approved by {answer.by}"


def _keep_encoders(settings: Settings, registry: Registry) -> None:
    """Let encoders go that no version with an alias names: their vectors are made for nobody."""
    named = [registry.version(version).tags.get(TAG_ENCODER) for version in set(registry.aliases().values())]
    with connect(settings, name="promote", autocommit=True) as connection:
        keep_only(connection, [digest for digest in named if digest is not None])


def _stays(context: StepContext, version: str, why: str) -> StepResult:
    return StepResult(f"alias {context.settings.model_alias!r} stays: {why}", {"version": version}, KEPT)
