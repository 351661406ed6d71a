"""Which items may be shown, for what scores users away from the servers that hold live item state."""

from datetime import datetime

from features.db.connection import connect, database_errors
from features.db.queries import queries
from features.settings import Settings


def items_not_shown(settings: Settings, as_of: datetime) -> list[str]:
    """Return ids of items that may not be shown at a moment, by the rules of serving on their state of now.

    Raises
    ------
    UnavailableError
        If Postgres is away.
    """
    with connect(settings, name="shown") as connection, database_errors("reading which items may be shown"):
        found: list[str] = queries.items_not_shown(connection, as_of=as_of)
    return found
