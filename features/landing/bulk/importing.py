"""Bulk import: rows of files become events and land by the same statements as those from Kafka.

1. look     every row of the file is read and checked; nothing is written yet, and bad rows refuse the file
2. chunk    the next rows are read while the database takes in those before
3. write    in one transaction: the rows, the counters of the partition `import`, and how far the file has come
4. finish   the file is noted as done

An interruption loses the chunk under way. The same command finds how far the file has come and goes on from there; a
file that is done is imported anew, which stores what is missing and counts the rest as duplicates. Items and users
without times are what the catalogue says as of the import's start: one that says again what was so before the last
import is stored, one that says what is so already is a duplicate.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from features.contracts.errors import UnavailableError
from features.contracts.events import BaseEvent
from features.db.connection import Connection, connect, database_errors
from features.db.queries import queries
from features.landing.bulk.batches import REQUIRED, Batch, Reader
from features.landing.bulk.files import FileError, Table
from features.landing.bulk.report import Report
from features.landing.bulk.store import ImportStore, Progress
from features.landing.write import prepare
from features.settings import Settings

T = TypeVar("T")
OnRows = Callable[[int], None]

ATTEMPTS: Final = 6
"""At a chunk, within some ten seconds: for as long a restart of Postgres need not end an import."""


IDLE_S: Final = 30
"""Seconds that a chunk's transaction may wait for us: an import stopped in the midst of it must not hold up landing."""
CHUNK_S: Final = 300
"""Seconds that a chunk's transaction may take in all."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of the rows of a file.

    Attributes
    ----------
    stored, duplicate
        How many were new, and how many were there already.
    refused
        How many were left out since they are wrong.
    skipped
        How many belong to erased users.
    resumed_at
        How many of all these an earlier run that was interrupted had done.
    """

    stored: int
    duplicate: int
    refused: int = 0
    skipped: int = 0
    resumed_at: int = 0


def _silent(_: int) -> None:
    """Tell nobody."""


def look(
    reader: Reader,
    on_rows: OnRows = _silent,
) -> Report:
    """Return what a look at all rows of a file finds, step 1 above; nothing is written.

    Parameters
    ----------
    reader
        Reads the file; afterwards it knows which rows repeat others.
    on_rows
        Told how many more rows were looked at.

    Raises
    ------
    FileError
        If the file breaks off, or lacks a column that all rows need.
    """
    check_columns(reader.table, reader.kind)
    report = Report(reader.table.path)
    for chunk in reader.table.chunks():
        reader.note(chunk, report)
        on_rows(chunk.rows)
    report.repeated_rows = reader.settle()
    return report


def import_table(settings: Settings, reader: Reader, *, skip_bad: bool = False, on_rows: OnRows = _silent) -> Imported:
    """Return what importing a file did, after steps 2 to 4 above.

    Parameters
    ----------
    settings
        Where Postgres is.
    reader
        Reads the file, and has looked at it.
    skip_bad
        Whether rows that are wrong were left out on purpose: then this is another import than one without.
    on_rows
        Told how many more rows are done.

    Raises
    ------
    UnavailableError
        If Postgres is away for long; rows of finished chunks are stored, and the same import goes on from there.
    """
    with _store(settings, reader, skip_bad=skip_bad) as store:
        begun = _patiently(store.begin)
        on_rows(begun.rows_done)
        with _ahead(_batches(reader, begun)) as batches:
            for batch in batches:
                _patiently(lambda: store.write(batch))  # noqa: B023  # called before the next turn
                on_rows(batch.rows)
        done = _patiently(store.finish)
    return Imported(done.stored, done.duplicate, done.refused, done.skipped, begun.rows_done)


def check_columns(table: Table, kind: type[BaseEvent]) -> None:
    """Return if a file has the columns that all rows need.

    Raises
    ------
    FileError
        Naming those that it lacks.
    """
    if missing := [name for name in REQUIRED[kind] if name not in table.columns]:
        raise FileError(
            f"{table.path}: no column {', '.join(missing)} among {', '.join(table.columns)}; "
            f"{kind.__name__.lower()}s need {', '.join(REQUIRED[kind])}, and --map COLUMN=NAME gives a column its name"
        )


@contextmanager
def _store(settings: Settings, reader: Reader, *, skip_bad: bool) -> Iterator[ImportStore]:
    def reconnect() -> Connection:
        connection = connect(settings, name="import", statement_timeout_s=300)
        prepare(connection)
        with database_errors("bounding transactions"), connection.transaction():
            queries.bound_transactions(connection, idle=f"{IDLE_S}s", whole=f"{CHUNK_S}s")
        return connection

    digest = reader.digest(skip_bad=skip_bad)
    store = ImportStore(reconnect, settings, digest, reader.kind, str(reader.table.path))
    try:
        yield store
    finally:
        store.close()


def _batches(reader: Reader, begun: Progress) -> Iterator[Batch]:
    """Yield what is left of a file; rows done before are only counted, so that equal ones keep their numbers."""
    report = Report(reader.table.path)
    for chunk in reader.table.chunks():
        batch = reader.read(chunk, report, begun.started_at)
        if chunk.first >= begun.rows_done:
            yield batch


@contextmanager
def _ahead(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """Yield the same items, each made in a thread while the one before is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="import") as pool:
        end = object()

        def follow() -> Iterator[T]:
            following = pool.submit(next, items, end)
            while (item := following.result()) is not end:
                following = pool.submit(next, items, end)
                yield item  # type: ignore[misc]  # not the end

        yield follow()


def _patiently(attempt: Callable[[], T]) -> T:
    retrying = Retrying(
        retry=retry_if_exception_type(UnavailableError),
        wait=wait_random_exponential(multiplier=0.3, max=4),
        stop=stop_after_attempt(ATTEMPTS),
        reraise=True,
    )
    return retrying(attempt)
