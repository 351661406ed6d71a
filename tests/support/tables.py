"""Events put into tables as landing does it, at landing times of the test's own choosing."""

from collections.abc import Iterable
from datetime import datetime

from features.contracts.events import Event
from features.db.connection import connect
from features.landing.rows import ROWS, Row
from features.landing.write import prepare, write_rows
from features.settings import Settings


def fill(settings: Settings, events: Iterable[Event], landed_at: datetime, *, backfill: bool = False) -> int:
    """Return how many of the events were new."""
    rows: dict[type, list[Row]] = {kind: [] for kind in ROWS}
    for offset, event in enumerate(events):
        known_at = event.occurred_at if backfill else None
        rows[type(event)].append(ROWS[type(event)](event, known_at, "test", 0, offset))
    with connect(settings, name="test") as connection:
        prepare(connection)
        with connection.transaction():
            return write_rows(connection, rows, landed_at)["test", 0]
