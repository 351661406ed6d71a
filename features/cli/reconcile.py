"""`reconcile`: whether every event is accounted for."""

from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from features.admin import reconcile as accounts
from features.db.connection import connect
from features.kafka import Admin
from features.settings import load_settings


def reconcile(*, json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False) -> None:
    """Compare offsets, counters and rows of every partition; exit code 1 if an event is unaccounted for."""
    settings = load_settings()
    with connect(settings, name="reconcile", statement_timeout_s=600) as connection, Admin(settings) as admin:
        balances = accounts.reconcile(connection, admin)
    holds = all(balance.holds for balance in balances)
    if json:
        answer = {"holds": holds, "partitions": [balance.to_json() for balance in balances]}
        typer.echo(msgspec.json.format(msgspec.json.encode(answer)).decode())
    else:
        _print(balances)
    if not holds:
        raise typer.Exit(1)


def _print(balances: list[accounts.Balance]) -> None:
    columns = list(balances[0].to_json()) if balances else []
    table = Table(*(name.replace("_", " ") for name in columns), title="read = stored + duplicate + dead + skipped")
    for balance in balances:
        values = balance.to_json().values()
        table.add_row(*map(str, values), style=None if balance.holds else "bold red")
    Console(width=None if Console().is_terminal else 200).print(table)
