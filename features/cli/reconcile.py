"""`reconcile`: whether every event is accounted for."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from features.admin import reconcile as accounts
from features.admin import reconcile_metrics
from features.admin.balance import Balance
from features.admin.trend import Trends, trends
from features.cli.plain import plain_console
from features.db.connection import connect
from features.kafka import landed_topics
from features.kafka_admin import Admin
from features.settings import load_settings

COLUMNS = (
    *("topic", "partition", "read", "lag", "stored", "duplicate", "dead", "skipped", "erased", "expired", "rows"),
    *("dead_letters", "letters_expired", "late", "ahead", "unaccounted", "rows_missing", "dead_letters_missing"),
)


def reconcile(
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    prometheus: Annotated[bool, typer.Option("--prometheus", help="Print Prometheus metrics instead.")] = False,
    prometheus_file: Annotated[
        Path | None, typer.Option(help="Also write Prometheus metrics here, for node_exporter's textfile collector.")
    ] = None,
    trend: Annotated[
        int, typer.Option(min=0, max=2160, metavar="HOURS", help="Also count what landed in each of the last hours.")
    ] = 0,
) -> None:
    """Compare offsets, counters and rows of every partition; exit code 1 if an event is unaccounted for."""
    settings = load_settings()
    now = datetime.now(UTC)
    with connect(settings, name="reconcile", statement_timeout_s=600) as connection, Admin(settings) as admin:
        balances = accounts.reconcile(connection, admin, landed_topics(settings))
        shown = trends(connection, trend, now) if trend else None
    holds = all(balance.holds for balance in balances)
    if prometheus_file is not None:
        reconcile_metrics.write(prometheus_file, reconcile_metrics.render(balances, now, shown))
    if prometheus:
        typer.echo(reconcile_metrics.render(balances, now, shown), nl=False)
    elif json:
        answer = {"holds": holds, "partitions": [balance.to_json() for balance in balances], "trend": shown}
        typer.echo(msgspec.json.format(msgspec.json.encode(answer)).decode())
    else:
        _print(balances, shown)
    for line in _problems(balances):
        typer.echo(line, err=True)
    if not holds:
        raise typer.Exit(1)


def _problems(balances: Sequence[Balance]) -> list[str]:
    return [f"{balance.topic}[{balance.partition}]: {problem}" for balance in balances for problem in balance.problems]


def _print(balances: Sequence[Balance], shown: Trends | None) -> None:
    title = "read = stored + duplicate + dead + skipped; rows = stored - erased - expired"
    table = Table(*(name.replace("_", " ") for name in COLUMNS), title=title)
    idle = [balance for balance in balances if balance.holds and not balance.read and not balance.lag]
    busy = [balance for balance in balances if balance not in idle]
    for balance in busy:
        cells = (str(getattr(balance, name)) for name in COLUMNS)
        table.add_row(*cells, style=None if balance.holds else "bold red")
    table.add_section()
    sums = (str(sum(getattr(balance, name) for balance in busy)) for name in COLUMNS[2:])
    table.add_row("all", "", *sums, style="bold")
    console = plain_console(220)
    console.print(table)
    if idle:
        console.print(f"{len(idle)} more partitions hold no message and miss none")
    if shown is not None:
        _print_trend(console, shown)


def _print_trend(console: Console, shown: Trends) -> None:
    title = f"rows landed since {shown.hours[0]:%Y-%m-%d %H:%M} UTC, hour by hour"
    table = Table("action", "total", "last hour", "by hour", title=title)
    for trend in shown.actions:
        table.add_row(trend.action, str(trend.total), str(trend.rows[-1]), Text(trend.bars, no_wrap=True))
    console.print(table)
