"""`retain`: let old events go."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from features.admin.old_parts import forget_older
from features.admin.retention import Retained
from features.admin.retention import retain as retain_rows
from features.db.connection import connect
from features.kafka_admin import Admin
from features.settings import load_settings


def retain(
    *,
    days: Annotated[
        int | None, typer.Option(min=0, help="Keep so many days; MARQUEE_RETENTION_DAYS otherwise, 0 keeps all.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only say how many rows would go.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")] = False,
) -> None:
    """Delete events and records older than the retention in small steps, from snapshots too; may be interrupted."""
    settings = load_settings()
    kept = settings.retention_days if days is None else days
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("pages"))
    with (
        connect(settings, name="retain") as connection,
        Admin(settings) as admin,
        Progress(*columns, console=Console(stderr=True)) as bar,
    ):
        tasks: dict[str, TaskID] = {}

        def show(table: str, done: int, pages: int) -> None:
            if table not in tasks:
                tasks[table] = bar.add_task(table, total=pages)
            bar.update(tasks[table], completed=done)

        how: dict[str, Any] = {"record_days": settings.record_days, "dry_run": dry_run, "on_pages": show}
        now = datetime.now(UTC)
        found = retain_rows(connection, admin, kept, now, **how)
    if found.occurred_before is not None:
        rows, note = forget_older(settings.work_dir, found.occurred_before, now, dry_run=dry_run)
        found = msgspec.structs.replace(found, snapshot_rows=rows, note=note)
    typer.echo(msgspec.json.encode(found).decode() if json else "\n".join(_lines(found)))


def _lines(found: Retained) -> list[str]:
    verb = "would go" if found.dry_run else "deleted"
    records = []
    if found.served_before is not None:
        records = [f"records of lists served before {found.served_before:%Y-%m-%d}: {found.served_lists} {verb}"]
    if found.occurred_before is None:
        return ["MARQUEE_RETENTION_DAYS is 0: every event is kept", *records]
    went = [f"{table}: {count} rows {verb}" for table, count in found.rows.items()]
    held = [f"{topic}: {told}" for topic, told in found.held_back.items()]
    since = f"what occurred before {found.occurred_before:%Y-%m-%d %H:%M} UTC:"
    letters = f"dead letters done with: {found.dead_letters} {verb}"
    snapshots = f"snapshots of kept training runs: {found.snapshot_rows} rows {verb}"
    return [since, *went, letters, snapshots, *records, *held, *([found.note] if found.note else [])]
