"""The landing gate: rows never appear behind the back of a reader that asked for a moment first.

A landing time is taken before its rows are committed. A reader that only compared times could miss rows of a
transaction under way; one that closes the gate for an instant knows that all rows landed before it are there.

The server's clock may be set back. What lands then still lands no earlier than item statistics have read: they would
never look at it.
"""

from datetime import datetime
from typing import Final

from features.db.connection import Connection
from features.db.queries import queries

GATE: Final = 7_203_002
"""Advisory lock that every landing transaction shares; any number that nothing else in this database uses."""


def enter_gate(connection: Connection) -> datetime:
    """Return the landing time of the transaction under way, and share the gate until it ends."""
    queries.enter_gate(connection, gate=GATE)
    landed_at: datetime = queries.landing_clock(connection)
    return landed_at


def landed_before(connection: Connection) -> datetime:
    """Return a moment such that all rows landed before it are visible from now on.

    Waits for the batches under way and holds up new ones as long; the connection must be in no transaction.
    """
    with connection.transaction():
        queries.close_gate(connection, gate=GATE)
        moment: datetime = queries.landing_clock(connection)
    return moment
