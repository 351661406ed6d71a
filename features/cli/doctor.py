"""`doctor`: whether the data that landed is fit to train on."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from features.admin import doctor as data
from features.admin.doctor import Diagnosis
from features.admin.doctor_config import load_config
from features.cli.plain import plain_console
from features.contracts.weights_file import load_weights
from features.db.connection import connect
from features.settings import load_settings

STYLES = {"ok": "green", "warn": "yellow", "block": "bold red", "unfinished": "yellow"}


def doctor(
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    config: Annotated[
        Path | None, typer.Option(help="YAML with severities and thresholds; MARQUEE_DOCTOR names it otherwise.")
    ] = None,
) -> None:
    """Check what has landed before training goes by it; exit code 1 if a check that blocks has failed."""
    settings = load_settings()
    chosen, said = load_config(config or settings.doctor), load_weights(settings.action_weights)
    with connect(settings, name="doctor", statement_timeout_s=600) as connection:
        found = data.diagnose(connection, chosen, said, datetime.now(UTC))
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        _print(found)
    if found.blocked:
        _say_why(found)
        raise typer.Exit(1)


def _print(found: Diagnosis) -> None:
    console = plain_console(200)
    part = "all of them" if found.percent == 100 else f"{found.sampled} of them, by whole pages of the table"
    table = Table("check", "", "found", "count", "ms", title=f"about {found.rows} interactions, looked at {part}")
    for finding in found.findings:
        lines = [finding.told] if finding.outcome == "ok" else [finding.told, *(f"  {e}" for e in finding.examples)]
        lines += [f"  -> {finding.next_step}"] if finding.next_step else []
        outcome = Text(finding.outcome, style=STYLES[finding.outcome])
        table.add_row(finding.name, outcome, Text("\n".join(lines)), str(finding.count), str(finding.took_ms))
    console.print(table)


def _say_why(found: Diagnosis) -> None:
    for finding in found.findings:
        if finding.outcome == "block":
            typer.echo(f"training is stopped by check {finding.name}: {finding.told}", err=True)
            for example in finding.examples[:3]:
                typer.echo(f"  {example}", err=True)
            typer.echo(f"  next: {finding.next_step}", err=True)
    typer.echo("severities and thresholds are configuration: `python -m features doctor --help`", err=True)
