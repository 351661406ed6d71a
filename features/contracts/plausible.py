"""Which times an event may have: at the front door, in landing, in imports, and of a dead letter that is sent again."""

from datetime import datetime, timedelta
from typing import Final

from features.contracts.event_problems import EventError
from features.contracts.times import EPOCH

FUTURE_LIMIT: Final = timedelta(days=1)
"""How far ahead of our clock an event may be: a wrong time zone is at most 14 hours."""
EARLIEST: Final = EPOCH
"""What is before it was read in a wrong unit, or is no time at all."""


def check_time(occurred_at: datetime, now: datetime) -> None:
    """Return if an event may have occurred then.

    Parameters
    ----------
    occurred_at
        Aware UTC.
    now
        Our clock when the event came, aware UTC.

    Raises
    ------
    EventError
        `far_future` or `far_past`.
    """
    if occurred_at > now + FUTURE_LIMIT:
        message = f"{occurred_at.isoformat()} lies more than a day ahead of the clock here, {now.isoformat()}"
        raise EventError("far_future", [("occurred_at", message)])
    if occurred_at < EARLIEST:
        message = f"{occurred_at.isoformat()} lies before 1970; was it counted in another unit?"
        raise EventError("far_past", [("occurred_at", message)])
