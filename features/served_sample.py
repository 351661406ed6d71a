"""Recorded lists of one bundle since a moment, drawn evenly: what a check of the serving path reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from features.db.connection import Connection, database_errors
from features.db.queries import queries
from features.served import ServedList, served_list_of


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """Some recorded lists, and of how many.

    Attributes
    ----------
    lists
        Drawn of those that a ranker ordered, by their moments.
    recorded
        Lists recorded since, by whatever bundle or none.
    of_bundle
        Of these, made by the bundle.
    ranked
        Of these, ordered by its ranker, so that feature rows are known.
    rows_gone
        Events that were ever erased or expired: the log is not what it was.
    """

    lists: Sequence[ServedList]
    recorded: int
    of_bundle: int
    ranked: int
    rows_gone: int


def draw_sample(connection: Connection, bundle_digest: str, since: datetime, at_most: int) -> Sample:
    """Return recorded lists of a bundle that were served at or after a time; the connection is in no transaction.

    Raises
    ------
    UnavailableError
        If Postgres is away or too slow.
    """
    asked = {"since": since, "bundle_digest": bundle_digest}
    with database_errors("reading served lists"), connection.transaction():
        queries.one_snapshot(connection)
        recorded, of_bundle, ranked = queries.served_counts_since(connection, **asked)
        lists = [served_list_of(row) for row in queries.served_lists_since(connection, at_most=at_most, **asked)]
        return Sample(lists, recorded, of_bundle, ranked, queries.rows_gone(connection))
