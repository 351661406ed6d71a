"""`dead-letters`: what could not be landed, mending it, and sending it again."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from features.admin import dead_letters
from features.admin.dead_letters import AUDITED, Filter, Letter, StillRefused, told
from features.audit import Deed, account, note
from features.cli.plain import plain_console
from features.contracts.errors import ContractError
from features.contracts.event_problems import REASONS
from features.contracts.mappings import load_mappings
from features.db.connection import Connection, connect
from features.kafka import EventProducer
from features.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="Events that could not be landed: list, show, fix, replay, discard.")

REFUSED_SHOWN = 10

ReasonOption = Annotated[str | None, typer.Option(help="Only this reason: " + ", ".join(REASONS) + ".")]
TopicOption = Annotated[str | None, typer.Option(help="Only this topic.")]
SinceOption = Annotated[datetime | None, typer.Option(help="Landed at or after this time, UTC.")]
UntilOption = Annotated[datetime | None, typer.Option(help="Landed before this time, UTC.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
IdsArgument = Annotated[
    list[int] | None, typer.Argument(help="Ids of dead letters; none = all that the options leave.")
]


def _filter(reason: str | None, topic: str | None, since: datetime | None, until: datetime | None) -> Filter:
    return Filter(reason, topic, since and since.replace(tzinfo=UTC), until and until.replace(tzinfo=UTC))


@app.command("list")
def list_letters(
    *,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    only_open: Annotated[bool, typer.Option("--open", help="Leave out replayed, discarded, erased ones.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
    json: JsonOption = False,
) -> None:
    """List dead letters, newest first, with their state: open, fixed, replayed, discarded or erased."""
    with connect(load_settings(), name="dead-letters") as connection:
        chosen = _filter(reason, topic, since, until)
        letters = dead_letters.find(connection, chosen, only_open=only_open, at_most=limit)
        counts = dead_letters.count_states(connection, chosen)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(letters)).decode())
    else:
        _print(letters)
        typer.echo(", ".join(f"{count} {state}" for state, count in counts.items()))


def _print(letters: list[Letter]) -> None:
    table = Table("id", "from", "reason", "landed at (UTC)", "state", "message")
    for letter in letters:
        place = f"{letter.topic}[{letter.partition}]@{letter.offset}"
        landed_at = f"{letter.landed_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(str(letter.dead_letter_id), place, letter.reason, landed_at, letter.state, letter.message)
    plain_console(200).print(table)


@app.command()
def show(dead_letter_id: int) -> None:
    """Print one dead letter with its bytes, as JSON; bytes that are not UTF-8 are escaped."""
    with connect(load_settings(), name="dead-letters") as connection:
        letter = dead_letters.get(connection, dead_letter_id)
    fields = msgspec.to_builtins(letter)
    fields |= {
        name: None if value is None else value.decode(errors="backslashreplace")
        for name, value in (("key", letter.key), ("raw", letter.raw), ("fixed_raw", letter.fixed_raw))
    }
    typer.echo(msgspec.json.format(msgspec.json.encode(fields)).decode())


@app.command()
def fix(
    dead_letter_id: int,
    *,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=JSON", help="Set a member, e.g. 'items[0].item_id=\"i1\"'."),
    ] = None,
    raw: Annotated[
        str | None, typer.Option(metavar="FILE", help="The whole event anew; - reads standard input.")
    ] = None,
) -> None:
    """Mend a dead letter for the next replay; refused, with every problem, while landing would refuse it."""
    whole = None if raw is None else sys.stdin.buffer.read() if raw == "-" else Path(raw).read_bytes()
    settings = load_settings()
    mappings = load_mappings(settings.mappings)
    with connect(settings, name="dead-letters") as connection:
        letter = dead_letters.fix(connection, dead_letter_id, whole, dict(map(_change, changes or ())), mappings)
        note(connection, Deed(account(), "fix", f"dead letter {dead_letter_id}"))
    typer.echo(f"dead letter {letter.dead_letter_id} is fixed; `dead-letters replay {letter.dead_letter_id}` sends it")


def _change(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    try:
        return path, msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        expected = "expected PATH=JSON, texts in double quotes: 'user_id=\"u1\"'"
        raise ContractError(f"--set {text!r:.200}: {error if equals else 'no ='}; {expected}") from None


@app.command()
def replay(
    ids: IdsArgument = None,
    *,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    force: Annotated[bool, typer.Option(help="Send also what landing would refuse again.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Only say how many, and what would still be refused.")] = False,
) -> None:
    """Send open dead letters to their topics again, mended where they are fixed; an event lands once.

    What landing would refuse again is not sent and stays open; exit code 1 says that there was such.
    """
    settings = load_settings()
    chosen = _filter(reason, topic, since, until)
    refused: list[StillRefused] = []
    with connect(settings, name="dead-letters") as connection:
        waiting = dead_letters.count_open(connection, ids, chosen)
        if dry_run:
            mappings = load_mappings(settings.mappings)
            count = 0 if force else dead_letters.would_refuse(connection, ids, chosen, refused.append, mappings)
            typer.echo(f"{waiting - count} dead letters would be replayed")
        else:
            sent = _send(settings, connection, ids, chosen, waiting=waiting, refused=refused, force=force)
            details = {"force": force, **told(ids, chosen, sent)}
            note(connection, Deed(account(), "replay", AUDITED, details=details))
            typer.echo(f"{sent} dead letters replayed")
    _report(refused, done=not dry_run)


def _send(
    settings: Settings,
    connection: Connection,
    ids: Sequence[int] | None,
    chosen: Filter,
    *,
    waiting: int,
    refused: list[StillRefused],
    force: bool,
) -> int:
    producer = EventProducer(settings)
    try:
        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task("replaying", total=waiting)
            return dead_letters.replay(
                connection,
                producer,
                ids,
                chosen,
                on_sent=lambda count: bar.advance(task, count),
                on_refused=refused.append,
                force=force,
                mappings=load_mappings(settings.mappings),
            )
    finally:
        producer.close()


def _report(refused: Sequence[StillRefused], *, done: bool) -> None:
    """Say what was (or would be) left, and exit with 1 if a replay left something."""
    if not refused:
        return
    typer.echo(f"{len(refused)} would still be refused and stay open; mend them with `dead-letters fix ID`:", err=True)
    for letter in refused[:REFUSED_SHOWN]:
        typer.echo(f"  {letter.dead_letter_id}: {letter.message}", err=True)
    if len(refused) > REFUSED_SHOWN:
        typer.echo(f"  ... and {len(refused) - REFUSED_SHOWN} more", err=True)
    if done:
        raise typer.Exit(1)


@app.command()
def discard(
    ids: IdsArgument = None,
    *,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All open ones, where nothing else narrows.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Only say how many.")] = False,
) -> None:
    """Put open dead letters aside: they are kept and counted, but no replay sends them."""
    chosen = _filter(reason, topic, since, until)
    if not (ids or everything or chosen != Filter()):
        raise typer.BadParameter("name ids, a filter, or --all")
    with connect(load_settings(), name="dead-letters") as connection:
        if dry_run:
            typer.echo(f"{dead_letters.count_open(connection, ids, chosen)} dead letters would be discarded")
        else:
            count = dead_letters.discard(connection, ids, chosen)
            note(connection, Deed(account(), "discard", AUDITED, details=told(ids, chosen, count)))
            typer.echo(f"{count} dead letters discarded")
