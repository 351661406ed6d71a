"""Erasing a user: every row, in one transaction, and a tombstone that keeps what arrives later from landing."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from features.admin.erasure_secret import refuse_another_secret
from features.admin.user_files import Scan, scan
from features.admin.user_letters import letters_of
from features.contracts.batch import written_folders
from features.contracts.erasure import erased_name, secret_check, user_key
from features.contracts.errors import ContractError, UnavailableError
from features.db.connection import Connection, database_errors
from features.db.gate import GATE, landed_before
from features.db.queries import queries
from features.kafka import PUBLISHED_OF_USERS, dead_letter_topic, landed_topics
from features.kafka_admin import Admin
from features.settings import Settings

FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
LAST: Final = datetime(9999, 1, 1, tzinfo=UTC)
LONGEST_ID: Final = 256
IMPORTED: Final = "import"
"""The topic of rows that came from files, as bulk import counts them."""

STATISTICS: Final = "item_statistics hold sums over users and no ids; what the user added fades with their half-lives"
MODELS: Final = (
    "model versions in MLflow hold factors and counts of items, and no user: a user's vector is made when asked for",
    "reports and plots in MLflow hold means over users; lists of a few example users stand there without ids",
    "snapshots of training runs are rewritten without the user: see `snapshots`; the next training has no such rows",
)
LOGS: Final = (
    "access logs are off; a line about a failed request holds its path, and so may hold a user's id, until the log "
    "rotates"
)
BACKUPS: Final = "out of reach: copies of the database hold the rows until they expire; erase again after a restore"


class TopicWithEvents(msgspec.Struct, frozen=True, kw_only=True):
    """A topic that still holds messages of the user, or may hold some: Kafka cannot remove single messages.

    Attributes
    ----------
    topic
        Its name.
    messages
        How many of its messages were erased here now, as rows or as dead letters; None of a topic that we publish and
        do not read: nobody counts what it holds of a user.
    retention_ms
        How long it keeps messages, -1 for ever; None where Kafka did not tell.
    gone_by
        When its retention lets the last of them go (Kafka drops segments as a whole, so it may be a segment later);
        None where that is not known.
    """

    topic: str
    messages: int | None
    retention_ms: int | None = None
    gone_by: datetime | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure did and what is left where it does not reach; it does not hold the user's id.

    Attributes
    ----------
    erased_at
        Aware UTC.
    erasures
        How many times this user has been erased, this one included; 0 in a dry run.
    dry_run
        Whether nothing was changed.
    rows
        Table -> rows deleted.
    dead_letters
        Dead letters that held the user and were emptied; they stay as rows, so that counts hold.
    item_statistics, models, logs, backups
        What is kept there, in words.
    snapshots, exports
        Files of training runs, from which the user is taken out, and files of exports that hold the user.
    lists
        Files of batch lists, wherever they were written: from finished ones the user is taken out. Folders that are not
        there any more, or not from here, are named in its note; copies that somebody made are out of reach.
    topics
        Where Kafka still holds events of the user, which are dropped when they are read again, and where it may hold
        what was published of the user.
    audit_events
        Entries of the audit that named the user; they name the beginning of the user's digest now.
    kafka
        Why Kafka was not asked, empty where it was.
    secret_check
        Tells under which secret the tombstone was made, without saying it.
    """

    erased_at: datetime
    erasures: int
    dry_run: bool
    rows: dict[str, int]
    dead_letters: int
    snapshots: Scan
    exports: Scan
    topics: list[TopicWithEvents]
    kafka: str
    secret_check: str
    audit_events: int = 0
    lists: Scan = Scan(folders=[])
    item_statistics: str = STATISTICS
    models: tuple[str, ...] = MODELS
    logs: str = LOGS
    backups: str = BACKUPS


@dataclass(slots=True)
class _Gone:
    """What was deleted: rows by table and by topic and partition, last landing time and letters by topic."""

    rows: dict[str, int] = field(default_factory=dict)
    places: Counter[tuple[str, int]] = field(default_factory=Counter)
    landed_at: dict[str, datetime] = field(default_factory=dict)
    letters: Counter[str] = field(default_factory=Counter)

    def add(self, table: str, deleted: Iterable[tuple[str, int, int, datetime]]) -> None:
        """Count what a query deleted, by topic and partition."""
        self.rows[table] = 0
        for topic, partition, count, landed_at in deleted:
            self.rows[table] += count
            self.places[topic, partition] += count
            self.landed_at[topic] = max(landed_at, self.landed_at.get(topic, landed_at))

    def last_landed_at(self, topic: str, now: datetime) -> datetime:
        """Return when the last message of a topic landed; now, where letters do not tell."""
        return now if topic in self.letters else self.landed_at.get(topic, now)


def erase(settings: Settings, connection: Connection, user_id: str, now: datetime, *, dry_run: bool = False) -> Receipt:
    """Return the receipt of erasing a user; doing it again changes nothing but erases what came meanwhile.

    Landing waits for it: a batch is either whole before it, and erased, or whole after it, and meets the tombstone.

    Parameters
    ----------
    settings
        With the erasure secret; where Kafka and the files are.
    connection
        In no transaction.
    user_id
        Whom.
    now
        Aware UTC.
    dry_run
        Only say what it would do.

    Raises
    ------
    ContractError
        If the id is empty or too long to be one.
    ErasureSecretError
        If the secret is empty, or not the one of earlier erasures.
    UnavailableError
        If Postgres is away; nothing is erased then. Kafka may be away, the receipt says so.
    """
    if not 1 <= len(user_id) <= LONGEST_ID:
        raise ContractError(f"user id {user_id!r:.80} of {len(user_id)} characters; expected 1 to {LONGEST_ID}")
    secret = settings.erasure_secret.get_secret_value().encode()
    check = secret_check(secret)
    retentions, trouble = _retentions(settings)
    with database_errors("erasing a user"):
        erase_at = None if dry_run else now
        snapshots = scan([settings.work_dir], user_id, erase_at)
        with connection.transaction():
            export_folders = _export_folders(connection)
        exports = scan(export_folders, user_id)
        lists = scan(written_folders(settings.work_dir), user_id, erase_at)
        with connection.transaction():
            refuse_another_secret(connection, secret)
        # Looking through letters takes a while, and landing need not wait: those up to here are looked at now.
        looked_until = landed_before(connection)
        with connection.transaction():
            letters = letters_of(connection, user_id, _recommendations(connection, user_id), (FIRST, looked_until))
        with connection.transaction() as under_way:
            if not dry_run:
                queries.close_gate(connection, gate=GATE)
            export_folders = _export_folders(connection)
            key = user_key(secret, user_id)
            gone = _delete(connection, user_id, letters, looked_until, now)
            renamed = queries.blank_audit_events(connection, user_id=user_id, target=erased_name(key))
            receipt = Receipt(
                erased_at=now,
                erasures=0,
                dry_run=dry_run,
                rows=gone.rows,
                dead_letters=gone.letters.total(),
                topics=_topics(gone, retentions, now),
                kafka=trouble,
                snapshots=snapshots,
                exports=exports,
                lists=lists,
                secret_check=check,
                audit_events=renamed,
            )
            if dry_run:
                raise psycopg.Rollback(under_way)
            kept = Jsonb(msgspec.to_builtins(receipt))
            number = queries.remember_erasure(connection, user_key=key, erased_at=now, receipt=kept)
    if dry_run:
        return receipt
    # What was finished meanwhile still holds the user; what is under way sees the tombstone at its end.
    return msgspec.structs.replace(
        receipt,
        erasures=number,
        snapshots=_after(snapshots, scan([settings.work_dir], user_id, erase_at)),
        exports=_after(exports, scan(export_folders, user_id)),
        lists=_after(lists, scan(written_folders(settings.work_dir), user_id, erase_at)),
    )


def erased_target(settings: Settings, user_id: str) -> str:
    """Return how the audit names a user who was erased: not by the id."""
    return erased_name(user_key(settings.erasure_secret.get_secret_value().encode(), user_id))


def _recommendations(connection: Connection, user_id: str) -> list[str]:
    shown: list[str] = queries.recommendations_of_user(connection, user_id=user_id)
    return shown


def _delete(
    connection: Connection, user_id: str, letters: Sequence[int], looked_until: datetime, now: datetime
) -> _Gone:
    """Delete a user's rows and empty their letters in the transaction under way, and count what went."""
    shown = _recommendations(connection, user_id)
    gone = _Gone()
    for table, rows in {
        "interactions": queries.erase_interactions(connection, user_id=user_id),
        "feedback": queries.erase_feedback(connection, user_id=user_id, recommendation_ids=shown),
        "impressions": queries.erase_impressions(connection, user_id=user_id),
        "user_versions": queries.erase_user_versions(connection, user_id=user_id),
    }.items():
        gone.add(table, rows)
    gone.rows["users"] = queries.erase_user(connection, user_id=user_id)
    gone.rows["user_seen"] = queries.erase_user_seen(connection, user_id=user_id)
    gone.rows["served_lists"] = queries.erase_served_lists(connection, user_id=user_id)
    _count(connection, gone)
    since = letters_of(connection, user_id, shown, (looked_until, LAST))
    ids = sorted({*letters, *since})
    gone.letters.update(
        topic for (topic,) in queries.blank_dead_letters(connection, dead_letter_ids=ids, erased_at=now)
    )
    return gone


def _count(connection: Connection, gone: _Gone) -> None:
    """Move the counters with the rows, so that rows present = stored - erased - expired goes on to hold."""
    places = sorted(gone.places)
    queries.count_gone(
        connection,
        topics=[topic for topic, _ in places],
        partitions=[partition for _, partition in places],
        erased=[gone.places[place] for place in places],
        expired=[0] * len(places),
    )


def _retentions(settings: Settings) -> tuple[Mapping[str, int], str]:
    """Return how long each topic keeps its messages, and what kept us from asking."""
    topics = landed_topics(settings)
    try:
        with Admin(settings) as admin:
            return admin.retentions_ms([*topics, *map(dead_letter_topic, topics), *PUBLISHED_OF_USERS]), ""
    except UnavailableError as error:
        return {}, f"not asked: {error}"


def _topics(gone: _Gone, retentions: Mapping[str, int], now: datetime) -> list[TopicWithEvents]:
    """Return the topics whose messages were read as rows or letters of the user, and those where users are published.

    Letters lie in two topics each.
    """
    rows = Counter(gone.letters)
    rows.update({dead_letter_topic(topic): count for topic, count in gone.letters.items()})
    for (topic, _), count in gone.places.items():
        if topic != IMPORTED:
            rows[topic] += count
    counts = {**dict.fromkeys(PUBLISHED_OF_USERS), **rows}
    return [
        TopicWithEvents(
            topic=topic,
            messages=count,
            retention_ms=retentions.get(topic),
            gone_by=_gone_by(gone.last_landed_at(topic, now), retentions.get(topic)),
        )
        for topic, count in sorted(counts.items())
    ]


def _gone_by(landed_at: datetime, retention_ms: int | None) -> datetime | None:
    if retention_ms is None or retention_ms < 0:
        return None
    return landed_at + timedelta(milliseconds=retention_ms)


def _after(earlier: Scan, late: Scan) -> Scan:
    """Return what a second look found, with what the first one had rewritten."""
    return msgspec.structs.replace(late, rewritten=[*earlier.rewritten, *late.rewritten])


def _export_folders(connection: Connection) -> list[Path]:
    return [Path(folder) for (folder,) in queries.export_folders(connection)]
