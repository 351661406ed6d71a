"""Where an import writes: rows, counters and how far the file has come, in one transaction a chunk."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import numpy as np
from psycopg.types.json import Jsonb

from features.contracts.errors import MarqueeError, UnavailableError
from features.contracts.events import BaseEvent, Interaction, Item, User
from features.db.connection import Connection, database_errors
from features.db.gate import enter_gate
from features.db.queries import queries
from features.landing.bulk.batches import Batch, Catalogue
from features.landing.bulk.writing import Columns, ColumnsWriter, Target
from features.landing.erased import Erased
from features.landing.rows import Row
from features.landing.write import Writer
from features.settings import Settings

T = TypeVar("T")

IMPORTED: Final = "import"
"""Cluster, topic and topic id under which imported rows are counted; each kind of event is a partition."""
PARTITIONS: Final[dict[type[BaseEvent], int]] = {Interaction: 0, Item: 1, User: 2}

UNCHANGED: Final[Mapping[type[BaseEvent], Callable[..., Any]]] = {
    Item: queries.unchanged_items,
    User: queries.unchanged_users,
}
_ID: Final = 1
"""Where the row of an item or a user names it."""
_SAID: Final = 3
"""Where it holds what is said."""


class ImportMovedError(MarqueeError):
    """Another process is importing the same file."""


@dataclass(frozen=True, slots=True)
class Progress:
    """When the import of a file started, how far it has come, and what became of its rows so far."""

    started_at: datetime
    rows_done: int
    stored: int
    duplicate: int
    refused: int
    skipped: int


class ImportStore:
    """Writes the chunks of one file in their order, each once.

    Parameters
    ----------
    reconnect
        Gives a connection that is ready to write.
    settings
        Holds the secret by which erased users are known.
    digest
        What tells this import from others.
    kind
        What its rows are.
    source
        Where the file lies, for people.
    """

    def __init__(
        self,
        reconnect: Callable[[], Connection],
        settings: Settings,
        digest: bytes,
        kind: type[BaseEvent],
        source: str,
    ) -> None:
        self._reconnect = reconnect
        self._digest = digest
        self._kind = kind
        self._source = source
        self._partition = PARTITIONS[kind]
        self._key = {"cluster_id": IMPORTED, "topic": IMPORTED, "topic_id": IMPORTED, "partition": self._partition}
        self._writer = Writer()
        self._columns = ColumnsWriter()
        self._erased = Erased(settings.erasure_secret.get_secret_value().encode())
        self._open: Connection | None = None

    def begin(self) -> Progress:
        """Return how far an earlier run has come; raises as `write` does."""
        return self._in_transaction(self._begin)

    def write(self, batch: Batch) -> None:
        """Write one chunk.

        Raises
        ------
        UnavailableError
            If Postgres went away: the next attempt connects anew, and finds out whether this one was committed.
        ImportMovedError
            If another process moves the same import.
        """
        self._in_transaction(lambda connection: self._write(connection, batch))

    def finish(self) -> Progress:
        """Return what became of all rows, after noting that the file is done; raises as `write` does."""
        return self._in_transaction(self._finish)

    def close(self) -> None:
        """Disconnect."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _in_transaction(self, act: Callable[[Connection], T]) -> T:
        try:
            if self._open is None:
                self._open = self._reconnect()
            with database_errors(f"importing {self._source}"), self._open.transaction():
                return act(self._open)
        except UnavailableError:
            self.close()
            raise

    def _begin(self, connection: Connection) -> Progress:
        queries.end_overtaken_import(connection, digest=self._digest)
        queries.begin_import(connection, digest=self._digest, kind=self._kind.__name__, source=self._source)
        queries.begin_partition(connection, **self._key, first_offset=0)
        return self._progress(connection)

    def _finish(self, connection: Connection) -> Progress:
        queries.finish_import(connection, digest=self._digest)
        return self._progress(connection)

    def _progress(self, connection: Connection) -> Progress:
        return Progress(*queries.import_progress(connection, digest=self._digest))

    def _write(self, connection: Connection, batch: Batch) -> None:
        landed_at = enter_gate(connection)
        [(_, _, offset)] = queries.lock_offsets(
            connection, cluster_id=IMPORTED, topics=[IMPORTED], topic_ids=[IMPORTED], partitions=[self._partition]
        )
        rows_done = self._progress(connection).rows_done
        if rows_done == batch.first + batch.rows:
            return  # the commit went through, only its answer was lost
        self._erased.refresh(connection)
        target = Target(IMPORTED, self._partition, offset)
        stored, skipped = self._store(connection, batch.content, target, landed_at)
        good = len(batch.content)
        counts = {"stored": stored, "duplicate": good - stored - skipped, "skipped": skipped}
        moved = queries.move_import(
            connection,
            digest=self._digest,
            expected=batch.first,
            rows_done=batch.first + batch.rows,
            refused=batch.rows - good,
            **counts,
        )
        if moved != 1:
            raise ImportMovedError(
                f"{self._source}: its import stands at row {rows_done}, this process left it at {batch.first}: another "
                "one imports the same file. Nothing of this chunk was written; let one of them finish."
            )
        odd = {"dead": 0, "late": 0, "ahead": 0}
        queries.move_offset(connection, **self._key, expected=offset, next_offset=offset + good, **counts, **odd)

    def _store(
        self, connection: Connection, content: Columns | Catalogue, target: Target, landed_at: datetime
    ) -> tuple[int, int]:
        """Return how many rows were new, and how many belong to erased users and were left out."""
        if isinstance(content, Columns):
            users = content.user_ids.dictionary_encode()
            gone = np.array([user in self._erased for user in users.dictionary.to_pylist()], dtype=bool)
            kept = content
            if gone.any():
                kept = content.take(np.flatnonzero(~gone[users.indices.to_numpy()]))
            return self._columns.write(connection, kept, target, landed_at), len(content) - len(kept)
        rows, dropped = self._erased.drop_rows({self._kind: content.rows(target)})
        news = _news(connection, rows[self._kind], content, target)
        stored = self._writer.write(connection, {self._kind: news}, landed_at)
        at = target.topic, target.partition
        return stored[at], dropped[at]


def _news(connection: Connection, rows: Sequence[Row], content: Catalogue, target: Target) -> Sequence[Row]:
    """Return rows without those that say, with neither id nor time, what their item or user is already.

    Each import of a catalogue would otherwise leave another version of all of it. An item of which a file says several
    things keeps all of them, as the last one counts.
    """
    unnamed = [bool(content.unnamed[row[-1] - target.offset]) for row in rows]
    if not any(unnamed):
        return rows
    said = [Jsonb(row[_SAID]) if is_unnamed else None for row, is_unnamed in zip(rows, unnamed, strict=True)]
    found = UNCHANGED[content.kind](connection, ids=[row[_ID] for row in rows], said=said)
    unchanged = {name for (name,) in found}
    return [row for row in rows if row[_ID] not in unchanged]
