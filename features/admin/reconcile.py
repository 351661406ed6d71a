"""Whether every event is accounted for: counters against Kafka's offsets, and rows against counters."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from features.admin.discrepancies import Life, explain
from features.db.connection import Connection, database_errors
from features.db.queries import queries
from features.kafka import EVENT_TOPICS, Admin

Key = tuple[str, int]
NOTHING: Final = (0,) * 10
"""The counters of a partition that was never landed."""
ELSEWHERE: Final = "import"
"""The topic of rows that came from files: Kafka does not know it."""


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
    letters_expired
        Dead letters that retention took away.
    late, ahead
        Of the events read: how many occurred long before, and how many (by their producer's clock) had not yet.
    problems
        What is wrong, in words, with the offsets where they can be told.
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
    letters_expired: int = 0
    late: int = 0
    ahead: int = 0
    problems: tuple[str, ...] = ()

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
        """Dead letters that were counted and neither stand in the table nor were taken away."""
        return self.dead - self.letters_expired - self.dead_letters

    @property
    def balanced(self) -> bool:
        """Whether the numbers agree."""
        return not (self.unaccounted or self.rows_missing or self.dead_letters_missing) and self.lag >= 0

    @property
    def holds(self) -> bool:
        """Whether every event of the partition is accounted for, and nothing else is wrong with it."""
        return self.balanced and not self.problems

    def to_json(self) -> dict[str, object]:
        """Return the account with its differences, as JSON values."""
        differences = {
            "unaccounted": self.unaccounted,
            "rows_missing": self.rows_missing,
            "dead_letters_missing": self.dead_letters_missing,
            "holds": self.holds,
        }
        return asdict(self) | differences


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
