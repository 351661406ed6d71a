"""What is kept of a user beside the events themselves, made anew from these."""

from features.db.connection import Connection, database_errors
from features.db.gate import enter_gate
from features.db.queries import queries


def rebuild_seen(connection: Connection, user_id: str) -> tuple[int, int]:
    """Return how many items a user had seen as far as was kept, and how many it is after all events were looked at.

    Items of events that retention has let go stay: only the set of seen items still knows of them.

    Raises
    ------
    UnavailableError
        If Postgres is away.
    """
    with database_errors("rebuilding what a user has seen"), connection.transaction():
        # An erasure under way comes wholly before or wholly after.
        enter_gate(connection)
        before = queries.seen_count(connection, user_id=user_id)
        queries.rebuild_user_seen(connection, user_id=user_id)
        after = queries.seen_count(connection, user_id=user_id)
    return before or 0, after or 0
