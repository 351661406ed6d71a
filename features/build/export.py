"""Copies of the tables as parquet by day, for notebooks and other engines.

A folder holds `KIND/day=2026-01-01/part-0.parquet` (UTC days of `occurred_at`) for interactions, impressions and
feedback, `items/part-0.parquet` and `users/part-0.parquet`, and `manifest.json`, which says what is there. Everything
is of one moment. It is written aside in the folder and put in place at the end: a run that was killed leaves what was
there before, and the next one begins anew.
"""

import fcntl
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa

from features.build.export_files import DayWriter, FileInfo, WholeWriter
from features.contracts.errors import ContractError, MarqueeError
from features.contracts.times import EPOCH
from features.db.connection import Connection, connect, database_errors
from features.db.gate import enter_gate, landed_before
from features.db.queries import queries
from features.settings import Settings

ROWS_AT_ONCE: Final = 50_000
"""Rows held in memory at a time, and of a row group."""
MANIFEST: Final = "manifest.json"
END_OF_TIME: Final = datetime(9999, 12, 31, tzinfo=UTC)
_ASIDE: Final = ".writing"
_OLD: Final = ".replaced"
_LOCK: Final = ".lock"

_TIME: Final = pa.timestamp("us", tz="UTC")
_TEXT: Final = pa.string()
_TEXTS: Final = pa.list_(pa.string())
_NUMBERS: Final = pa.list_(pa.float64())
_KNOWN: Final = (("occurred_at", _TIME), ("known_at", _TIME), ("landed_at", _TIME))


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is exported of one table: the query, and the columns that it gives."""

    query: str
    schema: pa.Schema
    by_day: bool = True


KINDS: Final[dict[str, _Kind]] = {
    "interactions": _Kind(
        "export_interactions",
        pa.schema(
            [
                *((name, _TEXT) for name in ("event_id", "user_id", "item_id", "action")),
                *(("value", pa.float64()), *_KNOWN, ("recommendation_id", _TEXT), ("context", _TEXT)),
            ]
        ),
    ),
    "impressions": _Kind(
        "export_impressions",
        pa.schema(
            [
                *((name, _TEXT) for name in ("event_id", "user_id", "recommendation_id", "model_version")),
                *((name, _TEXT) for name in ("experiment_id", "variant", "policy")),
                *(("item_ids", _TEXTS), ("positions", pa.list_(pa.int32())), ("sources", _TEXTS)),
                *(("scores", _NUMBERS), ("propensities", _NUMBERS), *_KNOWN, ("context", _TEXT)),
            ]
        ),
    ),
    "feedback": _Kind(
        "export_feedback",
        pa.schema(
            [
                *((name, _TEXT) for name in ("event_id", "recommendation_id", "user_id", "item_id", "outcome")),
                *_KNOWN,
            ]
        ),
    ),
    "items": _Kind(
        "export_items",
        pa.schema(
            [
                *(("item_id", _TEXT), ("title", _TEXT), ("text", _TEXT), ("categories", _TEXTS)),
                *(("attributes", _TEXT), ("hidden", pa.bool_()), ("deleted", pa.bool_()), ("stock", pa.int32())),
                *(("published_at", _TIME), ("expires_at", _TIME), ("occurred_at", _TIME)),
            ]
        ),
        by_day=False,
    ),
    "users": _Kind(
        "export_users",
        pa.schema([("user_id", _TEXT), ("attributes", _TEXT), ("occurred_at", _TIME)]),
        by_day=False,
    ),
}


class OvertakenError(MarqueeError):
    """A user was erased while rows were copied: the copy may hold them, and was thrown away."""


class KindInfo(msgspec.Struct, frozen=True):
    """What an export holds of one kind."""

    rows: int
    files: list[FileInfo]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an export holds.

    Attributes
    ----------
    exported_at
        The moment of which all rows are: those that landed before it.
    since, until
        The half-open range of `occurred_at` of events; None where open.
    kinds
        Rows and files of each kind.
    """

    format: int = 1
    exported_at: datetime
    since: datetime | None
    until: datetime | None
    kinds: dict[str, KindInfo]

    @property
    def rows(self) -> int:
        """Return the number of all rows."""
        return sum(kind.rows for kind in self.kinds.values())


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how an export goes: of each kind's number of rows before it begins, then of rows written."""

    on_kind: Callable[[str, int], None] = lambda _kind, _rows: None
    on_rows: Callable[[int], None] = lambda _rows: None


def export(
    settings: Settings,
    folder: Path,
    kinds: Sequence[str] = ("interactions",),
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    watch: Watch | None = None,
) -> Manifest:
    """Return what was put into a folder, in place of an earlier export that it may hold.

    Parameters
    ----------
    settings
        Where Postgres is.
    folder
        Where to; made if missing.
    kinds
        What: some of `KINDS`.
    since, until
        Only events that occurred in [since, until), aware UTC; items and users are exported as they are now.
    watch
        Who is told how it goes.

    Raises
    ------
    ContractError
        If the folder holds something else, or another export is being written to it.
    OvertakenError
        If a user was erased meanwhile; the folder holds what it held before.
    UnavailableError
        If Postgres is away; the folder holds what it held before.
    """
    with (
        _claimed(folder),
        connect(settings, name="export", statement_timeout_s=1_800) as connection,
        database_errors("exporting"),
    ):
        moment = landed_before(connection)
        # From now on an erasure looks into this folder, whatever becomes of this run.
        erasure = _register(connection, folder, moment)
        planned = Manifest(exported_at=moment, since=since, until=until, kinds={})
        manifest = _write_aside(connection, folder, kinds, planned, watch or Watch())
        with connection.transaction():
            enter_gate(connection)
            if queries.newest_erasure(connection) != erasure:
                raise OvertakenError(f"{folder}: a user was erased while rows were copied; export again")
            _put_in_place(folder, manifest)
            queries.keep_export(connection, folder=str(folder.resolve()), exported_at=moment, rows=manifest.rows)
    return manifest


def _register(connection: Connection, folder: Path, moment: datetime) -> int:
    """Return the number of the latest erasure, after writing down that the folder may hold rows from now on."""
    with connection.transaction():
        queries.register_export(connection, folder=str(folder.resolve()), exported_at=moment)
        newest: int = queries.newest_erasure(connection)
    return newest


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Hold a folder that is empty or an export's, alone, with nothing of a broken-off run in it."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {entry.name for entry in folder.iterdir()}
    if names - {_LOCK} and not names & {MANIFEST, _ASIDE, _OLD}:
        raise ContractError(f"{folder}: holds {min(names)!r} and no {MANIFEST}; expected an empty folder or an export")
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ContractError(f"{folder}: another export is being written here; wait for it") from None
        try:
            _recover(folder)
            yield
        finally:
            shutil.rmtree(folder / _ASIDE, ignore_errors=True)


def _recover(folder: Path) -> None:
    """End what a run that was killed while it put things in place had begun, or bring back what it had moved away."""
    old = folder / _OLD
    if old.exists() and not (folder / MANIFEST).exists():
        had = read_manifest(old).kinds if (old / MANIFEST).exists() else {}
        for kind in KINDS:
            if kind not in had or (old / kind).exists():
                shutil.rmtree(folder / kind, ignore_errors=True)
            if (old / kind).exists():
                (old / kind).replace(folder / kind)
        if had:
            (old / MANIFEST).replace(folder / MANIFEST)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(folder / _ASIDE, ignore_errors=True)


def _write_aside(
    connection: Connection, folder: Path, kinds: Sequence[str], manifest: Manifest, watch: Watch
) -> Manifest:
    bounds = {
        "since": manifest.since or EPOCH,
        "until": manifest.until or END_OF_TIME,
        "landed_before": manifest.exported_at,
    }
    written = {}
    with connection.transaction():
        queries.one_snapshot(connection)
        counts = dict(zip(KINDS, queries.export_count(connection, **bounds), strict=True))
        for name in kinds:
            watch.on_kind(name, counts[name])
            written[name] = _copy_kind(connection, folder / _ASIDE, name, bounds, watch)
    return msgspec.structs.replace(manifest, kinds=written)


def _copy_kind(connection: Connection, folder: Path, name: str, bounds: dict[str, datetime], watch: Watch) -> KindInfo:
    kind = KINDS[name]
    target = folder / name
    target.mkdir(parents=True)
    writer = DayWriter(target, kind.schema) if kind.by_day else WholeWriter(target, kind.schema)
    with writer, connection.cursor("export") as cursor:
        cursor.execute(getattr(queries, kind.query).sql, bounds if kind.by_day else None, binary=True)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            writer.write(_table(rows, kind.schema))
            watch.on_rows(len(rows))
    return KindInfo(sum(file.rows for file in writer.files), writer.files)


def _table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


def _put_in_place(folder: Path, manifest: Manifest) -> None:
    """Swap what was written aside for what is there: the old manifest goes first and the new one comes last."""
    aside, old = folder / _ASIDE, folder / _OLD
    aside.mkdir(exist_ok=True)
    (aside / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
    old.mkdir()
    for name in [MANIFEST, *KINDS]:
        if (folder / name).exists():
            (folder / name).replace(old / name)
    for name in [*manifest.kinds, MANIFEST]:
        (aside / name).replace(folder / name)
    shutil.rmtree(old)


def read_manifest(folder: Path) -> Manifest:
    """Return what an export holds.

    Raises
    ------
    ContractError
        If the folder holds no whole export.
    """
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise ContractError(f"{folder / MANIFEST}: {error}; expected the folder of an export") from error
