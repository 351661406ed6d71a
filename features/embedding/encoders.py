"""Encoders in Postgres: which there are, their files in parts, and a verified copy of them on disk."""

import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import structlog
from psycopg.types.json import Jsonb

from features.contracts.errors import ContractError, UnavailableError
from features.db.connection import Connection, connect, database_errors
from features.db.queries import queries
from features.embedding import copies
from features.settings import Settings
from features.text.encoder import Encoder, EncoderError
from features.text.files import verified
from features.text.manifest import MANIFEST, sealed

log = structlog.get_logger()

PART_BYTES: Final = 4 << 20
"""Size of the parts that files are kept in: what a client holds at once."""
BUILDING: Final = "building"
READY: Final = "ready"
RETIRED: Final = "retired"
GATE: Final = 7_203_003
"""Advisory lock that embedders share while they commit vectors; any number that nothing else in this database uses."""


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """What Postgres knows of an encoder.

    Attributes
    ----------
    digest
        Its name.
    kind, dimension
        As the encoder says.
    fitted_on
        How many texts it was fitted on.
    figures
        What was measured of its fit.
    state
        "building", "ready" once every item has a vector by it, "retired".
    named
        Whether training made a bundle with it: it is not retired by itself then.
    created_at
        When it was fitted, UTC: the newest is the one that was fitted last, whenever others come back.
    """

    digest: str
    kind: str
    dimension: int
    fitted_on: int
    figures: Mapping[str, Any]
    state: str
    named: bool
    created_at: datetime


def known_encoders(connection: Connection) -> list[EncoderInfo]:
    """Return all encoders, newest first."""
    with database_errors("reading encoders"):
        return [EncoderInfo(*row) for row in queries.known_encoders(connection)]


def newest_ready(connection: Connection) -> EncoderInfo | None:
    """Return the newest encoder that has a vector of every item, None before there is one."""
    return next((one for one in known_encoders(connection) if one.state == READY), None)


def put_encoder(connection: Connection, encoder: Encoder, figures: Mapping[str, Any] | None = None) -> str:
    """Return the digest of an encoder after it was put into Postgres, to be built; one that is there stays as it is.

    A retired one is built anew. In one transaction: an encoder that can be seen is whole.

    Raises
    ------
    UnavailableError
        If Postgres is away.
    """
    raw, digest = sealed(encoder)
    said = {"kind": encoder.kind, "dimension": encoder.dimension, "fitted_on": encoder.lexicon.n_documents}
    figures = {**encoder.facts, **(figures or {})}
    with database_errors("keeping an encoder"), connection.transaction():
        if queries.add_encoder(connection, digest=digest, figures=Jsonb(figures), **said):
            for name, content in {MANIFEST: raw, **encoder.files()}.items():
                for part, some in enumerate(_parts(content)):
                    queries.add_encoder_part(connection, encoder=digest, name=name, part=part, content=some)
            queries.announce_encoders(connection)
    return digest


def load_encoder(settings: Settings, digest: str, cache_folder: Path) -> Encoder:
    """Return an encoder, every byte verified: from its copy in the folder, or from Postgres, which leaves a copy there.

    Parameters
    ----------
    settings
        Where Postgres is; not asked where the copy is good.
    digest
        Which encoder.
    cache_folder
        Holds a folder for each encoder; made where it is missing. Several processes may share it. When another encoder
        comes, copies go whose encoders are retired, or unknown to Postgres, and in use by none of them.

    Raises
    ------
    EncoderError
        If Postgres does not have it, or it cannot be run here.
    UnavailableError
        If Postgres is away, or the copy was removed while it was opened.
    """
    copy = cache_folder / digest
    encoder = copies.opened(copy, digest)
    if encoder is None:
        _fetch(settings, digest, cache_folder)
        encoder = copies.opened(copy, digest)
    if encoder is None:
        raise UnavailableError(f"encoder {digest}: {copy} was removed while it was opened; it is fetched again later")
    return encoder


def name_encoders(connection: Connection, digests: Sequence[str]) -> None:
    """Note that a bundle names these encoders: they stay until `keep_only` leaves them out.

    One that was retired is built again, unless its files were pruned.
    """
    with database_errors("naming encoders"), connection.transaction():
        _name(connection, list(digests))


def keep_only(connection: Connection, digests: Collection[str]) -> list[str]:
    """Return which ready encoders were retired: all but these and the newest. One of these that was retired is rebuilt.

    Unless its files were pruned: it can make no vectors then. The vectors of the others go with the next `encoders
    prune`, or when an embedder has nothing else to do; their files stay.
    """
    kept = sorted(digests)
    with database_errors("retiring encoders"), connection.transaction():
        _name(connection, kept)
        return [digest for (digest,) in queries.retire_all_but(connection, digests=kept)]


def _name(connection: Connection, digests: list[str]) -> None:
    """Name encoders and wake embedders, and tell of those that cannot come back: their files were pruned."""
    queries.name_encoders(connection, digests=digests)
    queries.announce_encoders(connection)
    for (digest,) in queries.without_files(connection, digests=digests):
        log.warning("a bundle names an encoder whose files are gone: it makes no vectors", encoder=digest)


def embedded_before(connection: Connection) -> datetime:
    """Return a moment such that all vectors with an earlier `embedded_at` are visible from now on.

    Waits for batches that are being committed, never for texts being encoded; the connection must be in no transaction.
    """
    with database_errors("waiting for embedders"), connection.transaction():
        queries.close_embedding_gate(connection, gate=GATE)
        moment: datetime = queries.clock(connection)
    return moment


def _parts(content: bytes | Path) -> Iterator[bytes]:
    """Yield a file's content in parts, one also of an empty file."""
    if isinstance(content, bytes):
        for at in range(0, max(1, len(content)), PART_BYTES):
            yield content[at : at + PART_BYTES]
        return
    with content.open("rb") as file:
        part = file.read(PART_BYTES)
        yield part
        while part := file.read(PART_BYTES):
            yield part


def _fetch(settings: Settings, digest: str, cache_folder: Path) -> None:
    """Leave a verified copy of an encoder in the folder, whole or not at all."""
    cache_folder.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=cache_folder, prefix=f".{digest[:12]}-"))
    try:
        with connect(settings, name="encoders") as connection, database_errors("reading an encoder"):
            _write(connection, digest, aside)
            in_use = {one.digest for one in known_encoders(connection) if one.state != RETIRED}
        verified(aside, digest)
        _move(aside, cache_folder / digest, digest)
        copies.prune(cache_folder, in_use | {digest})
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(connection: Connection, digest: str, folder: Path) -> None:
    parts = list(queries.encoder_parts(connection, encoder=digest))
    if not parts:
        raise EncoderError(
            f"encoder {digest}: Postgres has no files of it; `python -m features encoders list` shows what there is."
        )
    for name, part in parts:
        if Path(name).name != name:
            raise ContractError(f"encoder {digest}: {name!r} is no name of a file; put the encoder there anew.")
        with (folder / name).open("ab") as file:
            file.write(queries.encoder_part(connection, encoder=digest, name=name, part=part))


def _move(aside: Path, target: Path, digest: str) -> None:
    """Move a good copy to its place; a damaged one that lies there goes, a good one of another process stays."""
    if target.exists():
        with suppress(EncoderError):
            verified(target, digest)
            return
        copies.remove(target)
    try:
        aside.rename(target)
    except OSError:
        verified(target, digest)  # another process was first
