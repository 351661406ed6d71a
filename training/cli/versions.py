"""`versions`, `promote`, `rollback`: which model version serves, and moving that by hand."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from features.log import configure_logging
from features.settings import Settings, load_settings

if TYPE_CHECKING:
    from training.bundle.registry import Registry


def list_versions() -> None:
    """List all versions of the model: aliases, gate, last check for skew, end of training, training run."""
    from training.bundle.registry import TAG_GATE, TAG_RUN, TAG_TRAINED_UNTIL  # noqa: PLC0415  # MLflow is slow to import
    from training.skew.verdict import TAG_SKEW  # noqa: PLC0415

    registry, _ = _registry()
    table = Table("version", "aliases", "gate", "skew", "trained until", "run", "digest")
    aliases = registry.aliases()
    for version in registry.versions():
        names = ", ".join(sorted(name for name, target in aliases.items() if target == version.version))
        told = (version.tags.get(tag, "") for tag in (TAG_GATE, TAG_SKEW, TAG_TRAINED_UNTIL, TAG_RUN))
        table.add_row(version.version, names, *told, (version.digest or "none")[:12])
    Console().print(table)


def promote(version: Annotated[str, typer.Argument(help="Number of the version.")]) -> None:
    """Let a version serve, whatever the gate said; the one before it is kept for `rollback`."""
    from training.auditing import note_move  # noqa: PLC0415
    from training.promotion import move_alias  # noqa: PLC0415

    registry, settings = _registry()
    before = move_alias(registry, settings.model_alias, version)
    note_move(settings, "promote", version, before)
    typer.echo(f"alias {settings.model_alias!r} -> version {version} (was {before or 'not set'})")


def rollback() -> None:
    """Let the version before the present one serve again."""
    from training.auditing import note_move  # noqa: PLC0415
    from training.promotion import roll_back  # noqa: PLC0415

    registry, settings = _registry()
    before = registry.aliases().get(settings.model_alias)
    version = roll_back(registry, settings.model_alias)
    note_move(settings, "rollback", version, before)
    typer.echo(f"alias {settings.model_alias!r} -> version {version} (was {before or 'not set'})")


def _registry() -> "tuple[Registry, Settings]":
    from training.bundle.registry import Registry  # noqa: PLC0415

    settings = load_settings()
    configure_logging(settings.log_format)
    return Registry(str(settings.mlflow_tracking_uri), settings.model_name), settings
