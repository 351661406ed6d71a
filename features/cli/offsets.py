"""`offsets`: where landing stands, and letting it go on where it stopped."""

from typing import Annotated

import msgspec
import typer
from rich.table import Table

from features.admin import offsets
from features.cli.plain import plain_console
from features.db.connection import connect
from features.kafka import landed_topics
from features.kafka_admin import Admin
from features.settings import load_settings

app = typer.Typer(
    no_args_is_help=True, help="Where landing stands in each partition; letting it go on where it stopped."
)


@app.command()
def show(*, json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False) -> None:
    """Show where landing stands in every partition, and which are stopped; exit code 1 if any is."""
    settings = load_settings()
    with connect(settings, name="offsets") as connection, Admin(settings) as admin:
        found = offsets.stands(connection, admin, landed_topics(settings))
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        _print(found)
    if any(stand.stopped for stand in found):
        raise typer.Exit(1)


def _print(found: list[offsets.Stand]) -> None:
    table = Table("topic", "partition", "state", "next", "first", "end", "moved at (UTC)")
    for stand in found:
        moved_at = f"{stand.moved_at:%Y-%m-%d %H:%M:%S}" if stand.moved_at else ""
        numbers = (stand.next_offset, stand.first, stand.end)
        cells = ("" if number is None else str(number) for number in numbers)
        style = "bold red" if stand.stopped else None
        table.add_row(stand.topic, str(stand.partition), stand.state, *cells, moved_at, style=style)
    plain_console(160).print(table)


@app.command()
def accept(
    topic: Annotated[str, typer.Argument(help="The topic of stopped partitions.")],
    *,
    partition: Annotated[list[int] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    start: Annotated[str, typer.Option("--from", help="Go on at: beginning, end, or an offset.")] = offsets.BEGINNING,
) -> None:
    """Let stopped partitions go on; what is read again is recognised by its event ids and lands once."""
    settings = load_settings()
    with connect(settings, name="offsets") as connection, Admin(settings) as admin:
        accepted = offsets.accept(connection, admin, topic, partition or (), start)
    for stand in accepted:
        typer.echo(f"{stand.topic}[{stand.partition}], {stand.state}: landing goes on from {start}")
