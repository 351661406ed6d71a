"""What landed, hour by hour."""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from features.db.connection import Connection, database_errors
from features.db.queries import queries

_BARS: Final = " ▁▂▃▄▅▆▇█"


class Trend(msgspec.Struct, frozen=True):
    """How many rows of one action (or kind of event, in brackets) landed in each hour.

    Attributes
    ----------
    action
        Its name.
    rows
        One count an hour, oldest first.
    """

    action: str
    rows: list[int]

    @property
    def total(self) -> int:
        """All rows of the span."""
        return sum(self.rows)

    @property
    def bars(self) -> str:
        """The counts as a line of bars, the largest at full height.

        >>> Trend("view", [0, 4, 8]).bars
        ' ▄█'
        """
        top = max(self.rows, default=0) or 1
        return "".join(_BARS[-(-count * (len(_BARS) - 1) // top)] for count in self.rows)


class Trends(msgspec.Struct, frozen=True):
    """The last hours of landing.

    Attributes
    ----------
    hours
        Beginnings of the hours, aware UTC, oldest first; the last one is under way.
    actions
        One a row, busiest first.
    """

    hours: list[datetime]
    actions: list[Trend]


def trends(connection: Connection, hours: int, now: datetime) -> Trends:
    """Return what landed in the last hours, by action.

    Parameters
    ----------
    connection
        In no transaction.
    hours
        How many, the one under way included.
    now
        Aware UTC.

    Raises
    ------
    UnavailableError
        If Postgres is away.
    """
    last = now.replace(minute=0, second=0, microsecond=0)
    starts = [last - timedelta(hours=back) for back in range(hours - 1, -1, -1)]
    with database_errors("counting by hour"), connection.transaction():
        found = {(action, hour): count for hour, action, count in queries.landed_per_hour(connection, since=starts[0])}
    actions = [
        Trend(action, [found.get((action, hour), 0) for hour in starts]) for action in {action for action, _ in found}
    ]
    return Trends(starts, sorted(actions, key=lambda trend: (-trend.total, trend.action)))
