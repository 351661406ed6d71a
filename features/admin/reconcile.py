"""Whether every event is accounted for: counters against Kafka's offsets, and rows against counters."""

from dataclasses import asdict, dataclass
from typing import Final

from features.db.connection import Connection, database_errors
from features.db.queries import queries
from features.kafka import EVENT_TOPICS, Admin

Key = tuple[str, int]
NOTHING: Final = (0,) * 7
"""The counters of a partition that was never landed."""


@dataclass(frozen=True, slots=True)
class Balance:
    """The account of one partition, over all its lives where the topic was made anew.

    Attributes
    ----------
    read
        Offsets that landing has passed since the first one it read.
    lag
        Offsets ahead of it now.
    stored, duplicate, dead, skipped
        What became of the offsets passed.
    erased, expired
        Stored rows that were taken away on purpose.
    rows, dead_letters
        What stands in the tables now.
    """

    topic: str
    partition: int
    read: int
    lag: int
    stored: int
    duplicate: int
    dead: int
    skipped: int
    erased: int
    expired: int
    rows: int
    dead_letters: int

    @property
    def unaccounted(self) -> int:
        """Offsets passed of which no counter knows; below 0, some were counted twice."""
        return self.read - self.stored - self.duplicate - self.dead - self.skipped

    @property
    def rows_missing(self) -> int:
        """Rows that were stored and neither stand nor were taken away; below 0, rows that no counter knows."""
        return self.stored - self.erased - self.expired - self.rows

    @property
    def dead_letters_missing(self) -> int:
        """Dead letters that were counted and do not stand in the table."""
        return self.dead - self.dead_letters

    @property
    def holds(self) -> bool:
        """Whether every event of the partition is accounted for."""
        return not (self.unaccounted or self.rows_missing or self.dead_letters_missing) and self.lag >= 0

    def to_json(self) -> dict[str, object]:
        """Return the account with its differences, as JSON values."""
        differences = {
            "unaccounted": self.unaccounted,
            "rows_missing": self.rows_missing,
            "dead_letters_missing": self.dead_letters_missing,
            "holds": self.holds,
        }
        return asdict(self) | differences


def reconcile(connection: Connection, admin: Admin) -> list[Balance]:
    """Return the account of every partition that exists or was ever landed, and of the import.

    Raises
    ------
    UnavailableError
        If Postgres or Kafka is away.
    """
    identity = admin.identify()
    with database_errors("counting"), connection.transaction():
        # One snapshot, so that a batch landing meanwhile is in all the numbers or in none.
        queries.one_snapshot(connection)
        counters = {row[:2]: row[2:] for row in queries.counters(connection)}
        rows = {row[:2]: row[2] for row in queries.rows_present(connection)}
        dead = {row[:2]: row[2] for row in queries.dead_letters_present(connection)}
        positions = queries.positions(connection, cluster_id=identity.cluster_id)
        landed = {
            (topic, partition): offset
            for topic, topic_id, partition, offset in positions
            if identity.topic_ids.get(topic) == topic_id
        }
    # Asked after the counting: the end is never before what was counted.
    ends = admin.end_offsets(EVENT_TOPICS)
    lags = {key: end - landed.get(key, 0) for key, end in ends.items()}
    keys = sorted(counters.keys() | rows.keys() | ends.keys())
    return [
        _balance(key, lags.get(key, 0), counters.get(key, NOTHING), rows.get(key, 0), dead.get(key, 0)) for key in keys
    ]


def _balance(key: Key, lag: int, counters: tuple[int, ...], rows: int, dead: int) -> Balance:
    read, stored, duplicate, died, skipped, erased, expired = counters
    return Balance(*key, read, lag, stored, duplicate, died, skipped, erased, expired, rows, dead)
