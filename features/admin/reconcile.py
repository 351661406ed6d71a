"""Whether every event is accounted for: counters against Kafka's offsets, and rows against counters."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from features.admin.balance import Balance
from features.admin.discrepancies import Life, explain
from features.db.connection import Connection, database_errors
from features.db.queries import queries
from features.kafka import EVENT_TOPICS
from features.kafka_admin import Admin

Key = tuple[str, int]
NOTHING: Final = (0,) * 10
"""The counters of a partition that was never landed."""
ELSEWHERE: Final = "import"
"""The topic of rows that came from files: Kafka does not know it."""


def reconcile(connection: Connection, admin: Admin, topics: Iterable[str] = EVENT_TOPICS) -> list[Balance]:
    """Return the account of every partition that exists or was ever landed, and of the import.

    Parameters
    ----------
    connection
        In no transaction.
    admin
        Of the broker.
    topics
        Those that are landed; what was landed before is counted, too.

    Raises
    ------
    UnavailableError
        If Postgres or Kafka is away.
    """
    with database_errors("counting"), connection.transaction():
        # One snapshot, so that a batch landing meanwhile is in all the numbers or in none.
        queries.one_snapshot(connection)
        accounts = {row[:2]: row[2:] for row in queries.accounts(connection)}
        lives: dict[Key, list[_Landed]] = {}
        for row in queries.standing(connection):
            lives.setdefault(row[:2], []).append(_Landed(*row[2:]))
        rows = {row[:2]: row[2:] for row in queries.rows_standing(connection)}
        letters = {row[:2]: row[2:] for row in queries.letters_standing(connection)}
        # Asked after the counting: the end is never before what was counted.
        log = _Log(admin, {*topics, *(topic for topic, _ in accounts)} - {ELSEWHERE})
        found = []
        for key in sorted(accounts.keys() | rows.keys() | log.end.keys()):
            (standing, largest_row), (dead, largest_letter) = rows.get(key, (0, -1)), letters.get(key, (0, -1))
            life = log.life(key, lives.get(key, []), max(largest_row, largest_letter))
            balance = _balance(key, life, accounts.get(key, NOTHING), standing, dead)
            found.append(replace(balance, problems=tuple(explain(connection, balance, life))))
    return found


@dataclass(frozen=True, slots=True)
class _Landed:
    """One life of a partition as the offsets table has it."""

    cluster_id: str
    topic_id: str
    first_offset: int
    next_offset: int


class _Log:
    """What Kafka has of some topics now; those that it does not have are left out."""

    def __init__(self, admin: Admin, topics: Iterable[str]) -> None:
        wanted = list(topics)
        self.first = admin.first_offsets(wanted)
        self.end = admin.end_offsets(wanted)
        self._identity = admin.identify({topic for topic, _ in self.end})

    def life(self, key: Key, lives: Sequence[_Landed], largest: int) -> Life:
        """Return where a partition stands: in the topic's present life, or in its only one where Kafka has none."""
        present = (self._identity.cluster_id, self._identity.topic_ids.get(key[0], ""))
        here = [life for life in lives if (life.cluster_id, life.topic_id) == present]
        if key not in self.end and len(lives) == 1:
            here = list(lives)
        first, following = (here[0].first_offset, here[0].next_offset) if here else (None, None)
        return Life(len(lives), first, following, self.first.get(key), self.end.get(key), largest)


def _balance(key: Key, life: Life, counters: tuple[int, ...], rows: int, dead: int) -> Balance:
    read, stored, duplicate, died, skipped, erased, expired, letters_expired, late, ahead = counters
    counted = (stored, duplicate, died, skipped, erased, expired)
    return Balance(*key, read, life.lag, *counted, rows, dead, letters_expired, late, ahead)
