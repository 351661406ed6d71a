"""`versions`, `promote`, `rollback`, `history`: which model version serves, and moving that by hand."""

from datetime import UTC
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from features.cli.plain import plain_console
from features.log import configure_logging
from features.settings import Settings, load_settings

if TYPE_CHECKING:
    from features.contracts.moves import Moved
    from features.moves import Mover, Moves
    from training.bundle.aliases import ServedAlias
    from training.bundle.versions import Aliased


def list_versions() -> None:
    """List all versions of the model: aliases, gate, last check for skew, end of training, training run."""
    from training.bundle.versions import TAG_GATE, TAG_RUN, TAG_TRAINED_UNTIL  # noqa: PLC0415
    from training.skew.verdict import TAG_SKEW  # noqa: PLC0415

    registry = _registry(_settings())
    table = Table("version", "aliases", "gate", "skew", "trained until", "run", "digest")
    aliases = registry.aliases()
    for version in registry.versions():
        names = ", ".join(sorted(name for name, target in aliases.items() if target == version.version))
        told = (version.tags.get(tag, "") for tag in (TAG_GATE, TAG_SKEW, TAG_TRAINED_UNTIL, TAG_RUN))
        table.add_row(version.version, names, *told, (version.digest or "none")[:12])
    _console().print(table)


Reason = Annotated[str, typer.Option(help="Why: kept with the move.")]
By = Annotated[str | None, typer.Option("--by", help="Who wants it.", show_default="the name of the account")]
CorrelationId = Annotated[str, typer.Option("--run", help="The run in Airflow that does it: kept with the move.")]


def promote(
    version: Annotated[str, typer.Argument(help="Number of the version.")],
    *,
    reason: Reason = "",
    by: By = None,
    run: CorrelationId = "",
) -> None:
    """Let a version serve, whatever the gate said; the one before it is kept for `rollback`."""
    pointer, moves = _moves()
    mover = _mover(by, reason, run)
    moved = moves.make("promote", lambda: pointer.promote(version), mover, wanted=version, once=bool(run))
    if moved.after != version:
        typer.echo(f"run {run} let version {version} serve before; version {moved.after} does since, and stays")
    else:
        _say(moved)


def rollback(*, reason: Reason = "", by: By = None, run: CorrelationId = "") -> None:
    """Let the version before the present one serve again; a second rollback goes forth again.

    A run in Airflow goes back once, however often it is tried.
    """
    pointer, moves = _moves()
    mover, done = _mover(by, reason, run), pointer.went_back(run) if run else None
    _say(moves.make("rollback", lambda: pointer.roll_back(run), mover, wanted=done, once=bool(run)))


def history(limit: Annotated[int, typer.Option(min=1, max=10_000, help="Moves to show.")] = 20) -> None:
    """List the moves of the alias, newest first: when, who, from, to, why."""
    _, moves = _moves()
    table = Table("at", "who", "how", "from", "to", "why", "request or run")
    for move in moves.history(limit):
        at = move.at.astimezone(UTC).isoformat(sep=" ", timespec="seconds")
        before, why = move.details.get("from") or "", move.details.get("reason", "")
        table.add_row(at, move.actor, move.action, before, move.target, why, move.correlation_id)
    _console().print(table)


def _console() -> Console:
    """Return where tables go: as wide as they are where nobody looks at a terminal."""
    return plain_console(200)


def _mover(by: str | None, reason: str, run: str) -> "Mover":
    from features.audit import account  # noqa: PLC0415
    from features.moves import Mover  # noqa: PLC0415

    return Mover(by or account(), reason, run)


def _moves() -> "tuple[ServedAlias, Moves]":
    from features.moves import Moves  # noqa: PLC0415
    from training.bundle.aliases import ServedAlias  # noqa: PLC0415
    from training.nudging import nudge  # noqa: PLC0415

    settings = _settings()
    # Beside the move, which holds a lock: servers load the version while challenger and entry are written.
    telling = Thread(target=nudge, args=(settings,), name="nudge")
    pointer = ServedAlias(_registry(settings), settings.model_alias, telling.start)
    return pointer, Moves(settings, pointer)


def _say(moved: "Moved") -> None:
    if moved.before == moved.after:
        typer.echo(f"version {moved.after} serves already")
    else:
        typer.echo(f"alias -> version {moved.after} (was {moved.before or 'not set'})")


def _settings() -> Settings:
    settings = load_settings()
    configure_logging(settings.log_format)
    return settings


def _registry(settings: Settings) -> "Aliased":
    """Return the model's aliases, asked for by MLflow's own client only where they have to be: it is slow to import."""
    from training.bundle.alias_client import AliasClient, speaks_plainly  # noqa: PLC0415

    uri = str(settings.mlflow_tracking_uri)
    if speaks_plainly(uri):
        return AliasClient(uri, settings.model_name)
    from training.bundle.registry import Registry  # noqa: PLC0415

    return Registry(uri, settings.model_name)
