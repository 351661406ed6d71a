"""Step `promote`: the alias moves to the new version if the gate and the run's options allow it, else nothing moves."""

from features.db.connection import connect
from features.embedding.encoders import keep_only
from features.settings import Settings
from training.auditing import note_move
from training.bundle.registry import TAG_ENCODER, Registry
from training.promotion import move_alias
from training.steps.register import registry_of
from training.steps.runner import StepContext, StepResult


def run(context: StepContext) -> StepResult:
    """Move the alias, or say why it stays."""
    gate = context.run.finished("gate")
    version = str(gate.results["version"])
    alias = context.settings.model_alias
    if gate.outcome != "promoted":
        return _stays(version, f"alias {alias!r} stays: the gate said {gate.outcome}. {gate.summary}")
    if not context.options.promote:
        how = f"`python -m training promote {version}` moves it"
        return _stays(version, f"alias {alias!r} stays: this run was asked not to promote; {how}")
    registry = registry_of(context)
    before = move_alias(registry, alias, version)
    note_move(context.settings, "promote", version, before, context.run.run)
    _keep_encoders(context.settings, registry)
    was = f", was {before}" if before is not None else ""
    return StepResult(f"alias {alias!r} -> version {version}{was}", {"version": version, "from": before}, "promoted")


def _keep_encoders(settings: Settings, registry: Registry) -> None:
    """Let encoders go that no version with an alias names: their vectors are made for nobody."""
    named = [registry.version(version).tags.get(TAG_ENCODER) for version in set(registry.aliases().values())]
    with connect(settings, name="promote", autocommit=True) as connection:
        keep_only(connection, [digest for digest in named if digest is not None])


def _stays(version: str, why: str) -> StepResult:
    return StepResult(why, {"version": version}, "kept")
