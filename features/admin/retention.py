"""Letting old events go, in small steps: each a short transaction, so that nobody waits and any may be the last."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from features.contracts.errors import ContractError
from features.db.connection import Connection, database_errors
from features.db.queries import queries
from features.kafka_admin import Admin

INTERACTIONS: Final = "interactions"
TABLES: Final = (INTERACTIONS, "impressions", "feedback")
PAGES_AT_ONCE: Final = 256
"""2 MiB of a table, some ten thousand rows: deleted within a fraction of a second."""
LETTERS_AT_ONCE: Final = 1_000
RECORDS_AT_ONCE: Final = 200
"""Each holds some 100 kB of feature rows."""
PAUSE_S: Final = 0.02
"""Between two steps, so that landing and requests come first."""


class Retained(msgspec.Struct, frozen=True, kw_only=True):
    """What retention did, or would do.

    Attributes
    ----------
    dry_run
        Whether nothing was changed.
    occurred_before
        What occurred before it went, aware UTC; None where all events are kept.
    rows
        Table -> rows deleted.
    dead_letters
        Dead letters deleted, of those replayed, discarded or erased.
    held_back
        Topic -> why some or all of its old rows stay.
    served_before
        Records of lists served before it went, aware UTC; None where all are kept.
    served_lists
        Records deleted.
    snapshot_rows
        Rows taken out of the snapshots of kept training runs.
    note
        Why snapshots could not be looked at; empty where they were.
    """

    dry_run: bool
    occurred_before: datetime | None
    rows: dict[str, int]
    dead_letters: int
    held_back: dict[str, str]
    served_before: datetime | None = None
    served_lists: int = 0
    snapshot_rows: int = 0
    note: str = ""


def retain(
    connection: Connection,
    admin: Admin,
    days: int,
    now: datetime,
    *,
    record_days: int = 0,
    dry_run: bool = False,
    on_pages: Callable[[str, int, int], None] = lambda *_: None,
) -> Retained:
    """Return what was deleted: interactions, impressions, feedback, finished letters and records older than some days.

    A row that its topic may still hold stays: reading the topic again would bring it back. What a user has seen stays,
    too (`user_seen`): filters need it. Interrupted, it has done what it had done; repeated, it goes on.

    Parameters
    ----------
    connection
        In no transaction.
    admin
        Of the broker, which knows how long topics keep their messages.
    days
        By `occurred_at`; 0 keeps all.
    now
        Aware UTC.
    record_days
        Of records of served lists; 0 keeps them as long as events.
    dry_run
        Only count.
    on_pages
        Told table, pages done and pages in all, for a progress bar.

    Raises
    ------
    ContractError
        If the days are below 0.
    UnavailableError
        If Postgres or Kafka is away; what was deleted before is counted.
    """
    if days < 0:
        raise ContractError(f"retention of {days} days; expected 0 (keep all) or more: set MARQUEE_RETENTION_DAYS")
    served_before = _served_before(days, record_days, now)
    records = 0
    if served_before is not None:
        with database_errors("deleting old records"):
            records = _Steps(connection, [], on_pages, dry_run=dry_run).expire_records(served_before)
    done = Retained(
        dry_run=dry_run,
        occurred_before=None,
        rows={},
        dead_letters=0,
        held_back={},
        served_before=served_before,
        served_lists=records,
    )
    if days == 0:
        return done
    cutoff = now - timedelta(days=days)
    with database_errors("looking up topics"), connection.transaction():
        topics = [topic for (topic,) in queries.landed_topics_known(connection)]
    kept_ms = admin.retentions_ms(topics)
    limits = [_limit(topic, cutoff, now, kept_ms.get(topic)) for topic in topics]
    work = _Steps(connection, [limit for limit in limits if limit is not None], on_pages, dry_run=dry_run)
    with database_errors("deleting old rows"):
        rows = {table: work.expire(table) for table in TABLES}
        letters = work.expire_letters(cutoff)
    held = {topic: told for topic in topics if (told := _held_back(kept_ms.get(topic), days))}
    return msgspec.structs.replace(done, occurred_before=cutoff, rows=rows, dead_letters=letters, held_back=held)


def _served_before(days: int, record_days: int, now: datetime) -> datetime | None:
    """Return before when records go; None where neither they nor events ever do."""
    kept = [some for some in (days, record_days) if some > 0]
    return now - timedelta(days=min(kept)) if kept else None


def _limit(topic: str, cutoff: datetime, now: datetime, kept_ms: int | None) -> Mapping[str, object] | None:
    """Return what of a topic may go; None where it keeps its messages for ever. Without a topic nothing comes back."""
    if kept_ms is not None and kept_ms < 0:
        return None
    landed_before = now - timedelta(milliseconds=kept_ms or 0)
    return {"topic": topic, "occurred_before": cutoff, "landed_before": landed_before}


def _held_back(kept_ms: int | None, days: int) -> str:
    if kept_ms is None:
        return ""
    if kept_ms < 0:
        return "Kafka keeps its messages for ever (retention.ms -1): reading it again would bring rows back"
    kept = timedelta(milliseconds=kept_ms)
    return f"rows stay {kept.days} days after they landed, as their messages do" if kept > timedelta(days=days) else ""


class _Steps:
    """The steps of one run."""

    def __init__(
        self,
        connection: Connection,
        limits: Sequence[Mapping[str, object]],
        on_pages: Callable[[str, int, int], None],
        *,
        dry_run: bool,
    ) -> None:
        self._connection = connection
        self._limits = Jsonb([*limits])
        self._on_pages = on_pages
        self._dry_run = dry_run

    def expire(self, table: str) -> int:
        """Return how many rows of a table went, page range by page range."""
        with self._connection.transaction():
            pages = int(queries.pages_of(self._connection, table_name=table))
        total = 0
        for first in range(0, pages, PAGES_AT_ONCE):
            total += self._step(table, first, first + PAGES_AT_ONCE)
            self._on_pages(table, min(first + PAGES_AT_ONCE, pages), pages)
            time.sleep(PAUSE_S)
        return total

    def _step(self, table: str, first: int, last: int) -> int:
        with self._connection.transaction() as under_way:
            if table == INTERACTIONS and not self._dry_run:
                # A refresh may take minutes, and longer than our statements. It is waited for here, while nothing is
                # held that landing needs.
                queries.lock_whole_since(self._connection)
            delete = getattr(queries, f"expire_{table}")
            span = {"first": f"({first},0)", "last": f"({last},0)", "expires": self._limits}
            found = list(delete(self._connection, **span))
            gone = {(topic, partition): count for topic, partition, count, _ in found}
            if self._dry_run:
                raise psycopg.Rollback(under_way)
            if gone:
                self._count(gone)
                if table == INTERACTIONS:
                    queries.gone_until(self._connection, known_at=max(known_at for *_, known_at in found))
        return sum(gone.values())

    def _count(self, gone: Mapping[tuple[str, int], int]) -> None:
        list(queries.lock_counters(self._connection, topics=sorted({topic for topic, _ in gone})))
        queries.count_gone(
            self._connection,
            topics=[topic for topic, _ in gone],
            partitions=[partition for _, partition in gone],
            erased=[0] * len(gone),
            expired=list(gone.values()),
        )

    def expire_records(self, served_before: datetime) -> int:
        """Return how many records of served lists went."""
        total = 0
        while count := self._records_step(served_before):
            total += count
            if self._dry_run:
                break
            time.sleep(PAUSE_S)
        return total

    def _records_step(self, served_before: datetime) -> int:
        at_most = None if self._dry_run else RECORDS_AT_ONCE
        with self._connection.transaction() as under_way:
            count: int = queries.expire_served_lists(self._connection, served_before=served_before, at_most=at_most)
            if self._dry_run:
                raise psycopg.Rollback(under_way)
        return count

    def expire_letters(self, cutoff: datetime) -> int:
        """Return how many dead letters went: those done with that landed before a time."""
        total = 0
        while count := self._letters_step(cutoff):
            total += count
            if self._dry_run:
                return total
            time.sleep(PAUSE_S)
        return total

    def _letters_step(self, cutoff: datetime) -> int:
        at_most = None if self._dry_run else LETTERS_AT_ONCE
        with self._connection.transaction() as under_way:
            chosen = {"landed_before": cutoff, "at_most": at_most}
            gone: Counter[tuple[str, str, str, int]] = Counter()
            for *place, count in queries.expire_dead_letters(self._connection, **chosen):
                gone[tuple(place)] += count
            if self._dry_run:
                raise psycopg.Rollback(under_way)
            self._count_letters(gone.items())
        return gone.total()

    def _count_letters(self, gone: Iterable[tuple[tuple[str, str, str, int], int]]) -> None:
        counted = sorted(gone, key=lambda each: (each[0][1], each[0][2], each[0][3]))
        list(queries.lock_counters(self._connection, topics=sorted({place[1] for place, _ in counted})))
        for (cluster_id, topic, topic_id, partition), letters in counted:
            key = {"cluster_id": cluster_id, "topic": topic, "topic_id": topic_id, "partition": partition}
            queries.count_letters_expired(self._connection, **key, letters=letters)
