"""How much has landed lately."""

from datetime import datetime

from features.db.connection import connect, database_errors
from features.db.queries import queries
from features.settings import Settings


def landed_since(settings: Settings, since: datetime) -> int:
    """Return how many interactions with an item landed at or after an instant.

    Raises
    ------
    UnavailableError
        If Postgres is away.
    """
    with connect(settings, name="due") as connection, database_errors("counting what has landed"):
        return int(queries.landed_since(connection, since=since))
