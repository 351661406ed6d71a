"""`dead-letters`: what could not be landed, and sending it again."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from features.admin import dead_letters
from features.admin.dead_letters import Filter, Letter
from features.contracts.event_problems import REASONS
from features.db.connection import connect
from features.kafka import EventProducer
from features.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Events that could not be landed: list, show, replay.")

ReasonOption = Annotated[str | None, typer.Option(help="Only this reason: " + ", ".join(REASONS) + ".")]
TopicOption = Annotated[str | None, typer.Option(help="Only this topic.")]
SinceOption = Annotated[datetime | None, typer.Option(help="Landed at or after this time, UTC.")]
UntilOption = Annotated[datetime | None, typer.Option(help="Landed before this time, UTC.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _filter(reason: str | None, topic: str | None, since: datetime | None, until: datetime | None) -> Filter:
    return Filter(reason, topic, since and since.replace(tzinfo=UTC), until and until.replace(tzinfo=UTC))


@app.command("list")
def list_letters(
    *,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    only_open: Annotated[bool, typer.Option("--open", help="Leave out those that were replayed.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
    json: JsonOption = False,
) -> None:
    """List dead letters, newest first."""
    with connect(load_settings(), name="dead-letters") as connection:
        chosen = _filter(reason, topic, since, until)
        letters = dead_letters.find(connection, chosen, only_open=only_open, at_most=limit)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(letters)).decode())
    else:
        _print(letters)


def _print(letters: list[Letter]) -> None:
    table = Table("id", "from", "reason", "landed at (UTC)", "replayed", "message")
    for letter in letters:
        place = f"{letter.topic}[{letter.partition}]@{letter.offset}"
        replayed = "yes" if letter.replayed_at else ""
        landed_at = f"{letter.landed_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(str(letter.dead_letter_id), place, letter.reason, landed_at, replayed, letter.message)
    Console(width=None if Console().is_terminal else 200).print(table)


@app.command()
def show(dead_letter_id: int) -> None:
    """Show one dead letter with the bytes as they came."""
    with connect(load_settings(), name="dead-letters") as connection:
        letter = dead_letters.get(connection, dead_letter_id)
    fields = msgspec.to_builtins(letter)
    fields |= {
        name: None if value is None else value.decode(errors="backslashreplace")
        for name, value in (("key", letter.key), ("raw", letter.raw))
    }
    typer.echo(msgspec.json.format(msgspec.json.encode(fields)).decode())


@app.command()
def replay(
    ids: Annotated[
        list[int] | None, typer.Argument(help="Ids of dead letters; none = all that the options leave.")
    ] = None,
    *,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    dry_run: Annotated[bool, typer.Option(help="Only say how many.")] = False,
) -> None:
    """Send open dead letters to their topics again; an event lands once, however often it is replayed."""
    settings = load_settings()
    chosen = _filter(reason, topic, since, until)
    with connect(settings, name="dead-letters") as connection:
        waiting = dead_letters.count_open(connection, ids, chosen)
        if dry_run:
            typer.echo(f"{waiting} dead letters would be replayed")
            return
        producer = EventProducer(settings)
        try:
            with Progress(console=Console(stderr=True)) as bar:
                task = bar.add_task("replaying", total=waiting)
                sent = dead_letters.replay(
                    connection, producer, ids, chosen, on_sent=lambda count: bar.advance(task, count)
                )
        finally:
            producer.close()
    typer.echo(f"{sent} dead letters replayed")
