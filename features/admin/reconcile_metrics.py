"""The account as Prometheus metrics: for node_exporter's textfile collector."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from features.admin.balance import Balance
from features.admin.trend import Trends

PREFIX: Final = "marquee_reconcile_"
MEASURES: Final = {
    "read": "Offsets that landing has passed.",
    "lag": "Offsets that are still to be landed.",
    "stored": "Events stored.",
    "duplicate": "Events that were there already.",
    "dead": "Events that could not be landed.",
    "skipped": "Offsets without a message, and events of erased users.",
    "erased": "Rows erased with their user.",
    "expired": "Rows that retention took away.",
    "rows": "Rows that stand in the tables.",
    "dead_letters": "Dead letters that stand in the table.",
    "letters_expired": "Dead letters that retention took away.",
    "late": "Events that occurred long before they landed.",
    "ahead": "Events that had not occurred yet by their producer's clock.",
    "unaccounted": "Offsets passed of which no counter knows.",
    "rows_missing": "Rows stored that neither stand nor were taken away.",
    "dead_letters_missing": "Dead letters counted that neither stand nor were taken away.",
    "holds": "1 where every event of the partition is accounted for.",
}
"""Gauges of each partition: what of a balance, and its help."""


def render(balances: Sequence[Balance], now: datetime, trends: Trends | None = None) -> str:
    """Return the account in Prometheus' text format.

    Parameters
    ----------
    balances
        One a partition.
    now
        When it was made, aware: an alert on its age tells that nobody reconciles any more.
    trends
        What landed by hour, where it was asked for.
    """
    return "\n".join(_lines(balances, now, trends)) + "\n"


def write(path: Path, text: str) -> None:
    """Write a file that its collector reads whole, old or new."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o644)  # the collector is another account
    Path(draft).replace(path)


def _lines(balances: Sequence[Balance], now: datetime, trends: Trends | None) -> Iterator[str]:
    values = [(balance, balance.to_json()) for balance in balances]
    for measure, purpose in MEASURES.items():
        yield from _head(measure, purpose)
        for balance, value in values:
            labels = f'topic="{_escaped(balance.topic)}",partition="{balance.partition}"'
            yield f"{PREFIX}{measure}{{{labels}}} {int(value[measure])}"  # type: ignore[call-overload]
    yield from _head("problems", "Partitions whose events are not all accounted for.")
    yield f"{PREFIX}problems {sum(not balance.holds for balance in balances)}"
    yield from _head("timestamp_seconds", "When this account was made.")
    yield f"{PREFIX}timestamp_seconds {now.timestamp():.0f}"
    if trends is not None:
        yield from _head("landed_rows", "Rows that landed within the hours asked for, by action.")
        yield from (f'{PREFIX}landed_rows{{action="{_escaped(t.action)}"}} {t.total}' for t in trends.actions)


def _head(name: str, purpose: str) -> tuple[str, str]:
    return f"# HELP {PREFIX}{name} {purpose}", f"# TYPE {PREFIX}{name} gauge"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
