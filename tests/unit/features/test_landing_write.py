"""Writing rows: what fails because the server is away is ours, wherever it fails."""

from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import pq

from features.contracts.errors import UnavailableError
from features.contracts.events import Interaction, stamp_event
from features.landing.rows import ROWS
from features.landing.write import find_refused


def test_a_server_that_goes_while_the_refused_row_is_looked_for_is_away() -> None:
    fields = {"user_id": 1, "item_id": 1, "action": "view"}
    event = stamp_event(fields, now=datetime(2026, 1, 1, tzinfo=UTC), event_id="e")
    row = ROWS[Interaction](event, None, "t", 0, 0)
    gone: psycopg.Connection[tuple[object, ...]] = psycopg.Connection(pq.PGconn.connect_start(b"host=/nowhere"))

    with pytest.raises(UnavailableError, match="finding the row that it refuses"):
        find_refused(gone, {Interaction: [row]})
