"""What ``python -m training compare`` does: reads, compares, prints, writes."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from features.cli.plain import plain_console
from training.cli.output import make_room
from training.comparing import Compared, compare_runs, read_run, to_json
from training.comparison_page import comparison_page
from training.json_text import json_text

_STYLES = {"better": "green", "worse": "red", "not distinguishable": "dim", "too few users": "dim"}


def execute(first: Path, second: Path, json_file: Path | None, html: Path | None) -> None:
    """Compare two folders and leave the result where it was asked for.

    Raises
    ------
    ContractError
        If a folder holds no backtest, the two were not asked the same, or nothing can be written where it is to be.
    """
    make_room(json_file, "--json")
    make_room(html, "--html")
    ours, theirs = read_run(first), read_run(second)
    compared = compare_runs(ours, theirs)
    plain_console(160).print(_table(compared, len(ours.per_user)))
    for file, text in (
        (json_file, json_text(to_json(ours, theirs, compared))),
        (html, comparison_page(ours, theirs, compared) + "\n"),
    ):
        if file is not None:
            file.write_text(text, encoding="utf-8")


def _table(compared: list[Compared], users: int) -> Table:
    table = Table(title=f"{users} users judged in both; the verdict is on the second run")
    for column in ("", "first", "second", "difference", "95 % interval", "verdict"):
        words = column in {"", "verdict"}
        table.add_column(column, justify="left" if words else "right", no_wrap=words)
    for entry in compared:
        gap = entry.difference
        table.add_row(
            entry.metric,
            f"{entry.first.mean:.4f}",
            f"{entry.second.mean:.4f}",
            f"{gap.mean:+.4f}",
            f"{gap.low:+.4f} to {gap.high:+.4f}",
            Text(entry.verdict, _STYLES[entry.verdict]),
        )
    return table
