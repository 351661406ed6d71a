"""Wait until every event that was played is accounted for in Postgres, and show the account."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from ops.demo.commands import CommandError, partitions

WITHIN_S = 300.0
FATES = ("stored", "duplicate", "dead")


@dataclass(frozen=True)
class Account:
    """What became of the events of one topic since the demo began to play."""

    topic: str
    produced: int
    stored: int
    duplicate: int
    dead: int

    @property
    def complete(self) -> bool:
        """Whether every event produced is stored, known already, or a dead letter."""
        return self.stored + self.duplicate + self.dead >= self.produced


def totals(rows: list[dict[str, Any]], topic: str) -> dict[str, int]:
    """Return fate -> count over all partitions of `topic`."""
    return {fate: sum(row[fate] for row in rows if row["topic"] == topic) for fate in FATES}


def accounts(produced: Mapping[str, int], before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[Account]:
    """Return the account of each topic: what its counters say now, less what they said before."""
    found = []
    for topic, number in produced.items():
        first, last = totals(before, topic), totals(now, topic)
        found.append(Account(topic, number, **{fate: last[fate] - first[fate] for fate in FATES}))
    return found


def wait_landed(
    produced: Mapping[str, int], before: list[dict[str, Any]], settings: Mapping[str, str], console: Console
) -> list[Account]:
    """Return the complete accounts of the topics played, and print them.

    Raises
    ------
    CommandError
        Where they are not complete in time.
    """
    deadline = time.monotonic() + WITHIN_S
    with console.status("landing"):
        while True:
            found = accounts(produced, before, partitions(settings))
            if all(account.complete for account in found):
                break
            if time.monotonic() > deadline:
                raise CommandError(
                    f"after {WITHIN_S:.0f} s not all events have landed: {found}; see `make logs S=landing`"
                )
    table = Table("topic", *("produced", "stored", "duplicate", "dead"), title="produced = stored + duplicate + dead")
    for account in found:
        numbers = (account.produced, account.stored, account.duplicate, account.dead)
        table.add_row(account.topic, *(f"{number:,}" for number in numbers))
    console.print(table)
    return found
