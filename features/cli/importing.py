"""`import`: history and catalogues from files."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from features.cli.plain import plain_console
from features.contracts.errors import ContractError
from features.contracts.events import BaseEvent, Interaction, Item, User
from features.settings import Settings, load_settings

if TYPE_CHECKING:
    from features.landing.bulk.batches import Reader
    from features.landing.bulk.importing import OnRows
    from features.landing.bulk.report import Report

INTERRUPTED: Final = 130
"""Exit code of a command that Ctrl-C ended, as shells have it."""
MOVIELENS_NAMES: Final = {
    "userId": "user_id",
    "movieId": "item_id",
    "timestamp": "occurred_at",
    "rating": "value",
    "genres": "categories",
}

File = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Parquet, CSV or JSONL.")]
Folder = Annotated[
    Path | None, typer.Option(exists=True, file_okay=False, help="Folder with ratings.csv and movies.csv.")
]
MapOption = Annotated[list[str] | None, typer.Option("--map", help="COLUMN=NAME: what to call a column of a file.")]
ActionOption = Annotated[str | None, typer.Option(help="What interactions without a column `action` are.")]


@dataclass(frozen=True, slots=True)
class _Way:
    """How files are imported."""

    names: Mapping[str, str]
    action: str | None
    dry_run: bool
    skip_bad: bool


def import_files(
    *,
    interactions: File = None,
    items: File = None,
    users: File = None,
    movielens: Folder = None,
    column_map: MapOption = None,
    action: ActionOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look, and say what is wrong.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out rows that are wrong.")] = False,
) -> None:
    """Import interactions, items and users; importing again stores only what is missing.

    All rows are looked at before any is written. An import that was interrupted goes on where it was.
    """
    wanted: list[tuple[type[BaseEvent], Path | None]] = [(Item, items), (User, users), (Interaction, interactions)]
    names = dict(_pair(pair) for pair in column_map or ())
    if movielens is not None:
        wanted += [(Item, movielens / "movies.csv"), (Interaction, movielens / "ratings.csv")]
        names = MOVIELENS_NAMES | names
    files = [(kind, path) for kind, path in wanted if path is not None]
    if not files:
        raise typer.BadParameter("name at least one of --interactions, --items, --users, --movielens")
    _check_names(names.keys() - MOVIELENS_NAMES.keys(), [path for _, path in files])
    settings = load_settings()
    way = _Way(names, action, dry_run, skip_bad)
    outcomes = [_import(settings, kind, path, way) for kind, path in files]
    if dry_run and not all(outcomes):
        raise typer.Exit(1)


def _pair(text: str) -> tuple[str, str]:
    column, equals, name = text.partition("=")
    if not column or not equals or not name:
        raise typer.BadParameter(f"{text!r}: expected COLUMN=NAME, such as customer=user_id", param_hint="--map")
    return column, name


def _check_names(named: set[str], paths: list[Path]) -> None:
    """Return if every column that is given a name stands in one of the files."""
    from features.landing.bulk.files import open_table  # noqa: PLC0415

    if missing := sorted(named.difference(*(open_table(path).columns for path in paths))):
        raise ContractError(f"--map: no file has a column {', '.join(missing)}; mind upper and lower case")


def _import(settings: Settings, kind: type[BaseEvent], path: Path, way: _Way) -> bool:
    """Return whether all rows of a file are good, after importing it unless it is a dry run."""
    # Imported here: pyarrow is part of the batch image only.
    from features.landing.bulk.batches import Reader  # noqa: PLC0415
    from features.landing.bulk.files import open_table  # noqa: PLC0415
    from features.landing.bulk.importing import look  # noqa: PLC0415

    table = open_table(path, way.names)
    with Reader(table, kind, datetime.now(UTC), way.action) as reader:
        with _bar(f"looking at {path.name}", table.rows) as advance:
            report = look(reader, advance)
        _print(report)
        if not (way.dry_run or way.skip_bad):
            report.refuse()
        if not way.dry_run:
            _write(settings, reader, report, way)
        return report.bad_rows == 0


def _write(settings: Settings, reader: "Reader", report: "Report", way: _Way) -> None:
    from features.landing.bulk.importing import import_table  # noqa: PLC0415

    path = reader.table.path
    try:
        with _bar(f"importing {path.name}", report.rows) as advance:
            done = import_table(settings, reader, skip_bad=way.skip_bad, on_rows=advance)
    except KeyboardInterrupt:
        typer.echo(f"{path}: interrupted; the same command goes on after the rows that are stored", err=True)
        raise typer.Exit(INTERRUPTED) from None
    told = f"{path}: {done.stored} stored, {done.duplicate} were there already"
    told += f", {done.refused} left out" if done.refused else ""
    told += f", {done.skipped} of erased users" if done.skipped else ""
    told += f" (the first {done.resumed_at} rows by an earlier run)" if done.resumed_at else ""
    typer.echo(told)


@contextmanager
def _bar(what: str, rows: int) -> "Iterator[OnRows]":
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=rows)
        yield lambda count: bar.advance(task, count)


def _print(report: "Report") -> None:
    good = report.rows - report.bad_rows
    typer.echo(f"{report.path}: {report.rows} rows, {good} good, {report.bad_rows} bad, ", nl=False)
    typer.echo(f"{report.repeated_rows} say the same as an earlier one")
    if not report.problems:
        return
    table = Table("column", "problem", "rows", "examples (row: value)")
    for problem in report.problems.values():
        examples = "\n".join(f"{number}: {value}" for number, value in problem.examples)
        table.add_row(problem.column, problem.message, str(problem.rows), examples)
    plain_console(200).print(table)
