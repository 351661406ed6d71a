"""`mappings`: other services' topics, and what the file that maps them makes of messages."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.table import Table

from features.cli.plain import plain_console
from features.contracts.errors import ContractError
from features.contracts.event_problems import EventError
from features.contracts.mapping_form import SHIPPED, MappingError
from features.contracts.mappings import TopicMapping, load_mappings

app = typer.Typer(no_args_is_help=True, help="Topics of other services: check their mappings, try them on messages.")

FileOption = Annotated[
    Path | None, typer.Option("--file", help="File of mappings; by default MARQUEE_MAPPINGS, or the shipped one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object a message instead of a table.")]


class _Surroundings(BaseSettings):
    """The one setting that these commands need: they work without a database."""

    model_config = SettingsConfigDict(env_prefix="MARQUEE_", extra="ignore")
    mappings: str = ""


def _file(chosen: Path | None) -> Path:
    named = _Surroundings().mappings
    return chosen or (Path(named) if named else SHIPPED)


@app.command()
def check(*, file: FileOption = None) -> None:
    """Say which topics a file maps, or what is wrong with it (exit code 2)."""
    path = _file(file)
    mappings = load_mappings(path)
    typer.echo(f"{path}: {len(mappings)} topics")
    for topic, mapping in mappings.items():
        typer.echo(f"  {topic} -> {mapping.kind.__struct_config__.tag}")


@app.command("try")
def try_messages(
    topic: str,
    messages: Annotated[typer.FileBinaryRead, typer.Argument(help="File with one message a line; - reads stdin.")],
    *,
    file: FileOption = None,
    json: JsonOption = False,
) -> None:
    """Show the events that messages would become, or why they would be dead letters (then exit code 1)."""
    mappings = load_mappings(path := _file(file))
    if topic not in mappings:
        raise MappingError(f"{path}: no topic {topic!r}; it maps {', '.join(mappings) or 'none'}")
    lines = [line for line in messages.read().split(b"\n") if line.strip()]
    if not lines:
        raise ContractError(f"{messages.name}: no messages; expected one a line")
    outcomes = [_outcome(mappings[topic], line) for line in lines]
    if json:
        for outcome in outcomes:
            typer.echo(msgspec.json.encode(outcome))
    else:
        _print(outcomes)
    refused = sum("problems" in outcome for outcome in outcomes)
    typer.echo(f"{len(outcomes) - refused} events, {refused} dead letters", err=True)
    if refused:
        raise typer.Exit(1)


def _outcome(mapping: TopicMapping, raw: bytes) -> dict[str, Any]:
    try:
        return {"event": msgspec.to_builtins(mapping.decode(raw))}
    except EventError as error:
        return {"reason": error.code, "problems": [{"field": path, "problem": told} for path, told in error.problems]}


def _print(outcomes: list[dict[str, Any]]) -> None:
    table = Table("message", "becomes", "event or problems")
    for number, outcome in enumerate(outcomes, 1):
        if "event" in outcome:
            told = {name: value for name, value in outcome["event"].items() if name not in {"type", "schema_version"}}
            table.add_row(str(number), outcome["event"]["type"], msgspec.json.encode(told).decode())
        else:
            problems = "; ".join(f"{one['field']}: {one['problem']}" for one in outcome["problems"])
            table.add_row(str(number), outcome["reason"], problems, style="red")
    plain_console(200).print(table)
