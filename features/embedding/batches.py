"""One batch of texts: claimed from the queue, embedded, written and done with, in one transaction."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from features.db.connection import Connection
from features.db.queries import queries
from features.embedding.encoders import GATE
from features.embedding.rows import nothing, packed
from features.failpoints import failpoint
from features.text.documents import AUTHOR_ATTRIBUTES, MAX_CHARS, TEXT_ATTRIBUTES, Document, document_of
from features.text.encoder import Embedded, Encoder

log = structlog.get_logger()

NEWEST_SHARE: Final = 4
"""One in so many places of a batch is for what changed last, so that it does not wait for all that came before."""
ATTRIBUTES: Final = [*AUTHOR_ATTRIBUTES, *TEXT_ATTRIBUTES]
"""Attributes of an item that are read as text; `text_hash` in the database reads the same ones."""
LONGEST_ERROR: Final = 500

Encoders = Mapping[str, Encoder]
Row = tuple[str, str, UUID, bytes, bytes, str | None]


@dataclass(frozen=True, slots=True)
class Claim:
    """Rows of the queue that are ours until the transaction ends.

    Attributes
    ----------
    queue_ids, item_ids, queued_at
        Of each row; an item has one at most.
    scanned
        Whether all of them were found by the scan.
    """

    queue_ids: Sequence[int]
    item_ids: Sequence[str]
    queued_at: Sequence[datetime]
    scanned: bool


@dataclass(frozen=True, slots=True)
class Text:
    """An item's text, which encoders lack it, and the rows of the queue that are done with once they do not."""

    item_id: str
    text_hash: UUID
    document: Document
    lacking: Sequence[str]
    queue_ids: Sequence[int]


@dataclass(slots=True)
class Outcome:
    """What became of a batch.

    Attributes
    ----------
    claimed
        Rows of the queue.
    embedded, failed
        Vectors written, and those of them that are zeros because an encoder failed on the text.
    unchanged
        Items of which all encoders had a vector already.
    gone
        Items that are no more.
    waited_s
        How long each item that changed and was embedded had waited, seconds.
    """

    claimed: int = 0
    embedded: int = 0
    failed: int = 0
    unchanged: int = 0
    gone: int = 0
    waited_s: list[float] = field(default_factory=list)


def embed_batch(connection: Connection, encoders: Encoders, size: int) -> Outcome:
    """Return what was done of what waits: nothing if `claimed` is 0.

    Kill it wherever you want: the transaction is undone, its rows wait again. Two at once never take the same item, and
    none ever makes one that writes items wait.

    Parameters
    ----------
    connection
        Prepared by `prepare`, in no transaction.
    encoders
        Those that are to have a vector of every item, by digest.
    size
        Items at most.
    """
    with connection.transaction():
        queries.plan_by_index(connection)
        claim = _claim(connection, size)
        if not claim.item_ids:
            return Outcome()
        failpoint("after_claim")
        texts = _read(connection, claim.item_ids, list(encoders))
        rows = list(_rows(texts, encoders))
        failpoint("after_encode")
        outcome = _write(connection, claim, texts, rows)
        failpoint("after_vectors")
    failpoint("after_texts")
    return outcome


def prepare(connection: Connection) -> None:
    """Make a session ready for `embed_batch`."""
    queries.create_staged_vectors(connection)


def embedded_alone(encoder: Encoder, documents: Sequence[Document]) -> Iterator[tuple[bytes, bytes, str | None]]:
    """Yield vector, terms and error of each document; one that makes the encoder fail takes no other with it."""
    try:
        found: Embedded = encoder.embed(documents)
    except Exception as error:  # noqa: BLE001  # whatever a text does to an encoder, the next one is embedded
        if len(documents) > 1:
            middle = len(documents) // 2
            yield from embedded_alone(encoder, documents[:middle])
            yield from embedded_alone(encoder, documents[middle:])
            return
        log.warning("an encoder fails on a text", encoder=encoder.digest[:12], error=repr(error))
        yield (*nothing(encoder.dimension), repr(error).replace("\0", "")[:LONGEST_ERROR])
        return
    yield from ((vector, terms, None) for vector, terms in packed(found))


def _claim(connection: Connection, size: int) -> Claim:
    """Return what is ours: the newest changes and the oldest ones, and with places left what the scan found."""
    rows: dict[str, tuple[int, datetime]] = {}

    def add(found: Iterable[tuple[int, str, datetime]]) -> int:
        before = len(rows)
        rows.update((item_id, (queue_id, queued_at)) for queue_id, item_id, queued_at in found)
        return len(rows) - before

    newest = max(1, size // NEWEST_SHARE)
    if add(queries.claim_newest(connection, at_most=newest)) == newest:
        add(queries.claim_oldest(connection, scanned=False, at_most=size - newest))
    changed = len(rows)
    if changed < size:
        add(queries.claim_oldest(connection, scanned=True, at_most=size - changed))
    places = list(rows.values())
    return Claim([one for one, _ in places], list(rows), [at for _, at in places], scanned=not changed)


def _read(connection: Connection, item_ids: Sequence[str], digests: Sequence[str]) -> list[Text]:
    found = queries.claimed_texts(
        connection, item_ids=list(item_ids), digests=list(digests), attributes=ATTRIBUTES, most_chars=MAX_CHARS
    )
    return [
        Text(item_id, text_hash, document_of(*said), lacking, queue_ids)
        for item_id, text_hash, *said, lacking, queue_ids in found
    ]


def _rows(texts: Sequence[Text], encoders: Encoders) -> Iterator[Row]:
    """Yield the rows of `item_vectors` that are missing."""
    missing: dict[str, list[Text]] = defaultdict(list)
    for text in texts:
        for digest in text.lacking:
            missing[digest].append(text)
    for digest, some in missing.items():
        made = embedded_alone(encoders[digest], [text.document for text in some])
        for text, (vector, terms, error) in zip(some, made, strict=True):
            yield digest, text.item_id, text.text_hash, vector, terms, error


def _write(connection: Connection, claim: Claim, texts: Sequence[Text], rows: Sequence[Row]) -> Outcome:
    there = {text.item_id for text in texts}
    gone = [item_id for item_id in claim.item_ids if item_id not in there]
    if gone:
        queries.forget_vectors(connection, item_ids=gone)
    done = {*claim.queue_ids, *(queue_id for text in texts for queue_id in text.queue_ids)}
    queries.finish_queued(connection, item_ids=list(claim.item_ids), queue_ids=sorted(done))
    written = _keep(connection, rows) if rows else 0
    now: datetime = queries.clock(connection)
    changed = {row[1] for row in rows}
    pairs = zip(claim.item_ids, claim.queued_at, strict=True)
    waited_s = [] if claim.scanned else [(now - at).total_seconds() for item_id, at in pairs if item_id in changed]
    failed = sum(row[-1] is not None for row in rows)
    unchanged = sum(not text.lacking for text in texts)
    return Outcome(len(claim.item_ids), written, failed, unchanged, len(gone), waited_s)


def _keep(connection: Connection, rows: Sequence[Row]) -> int:
    """Return how many rows were written, after entering the gate: what is stamped from now on is about to be seen."""
    with connection.cursor() as cursor, cursor.copy(queries.copy_staged_vectors.sql) as copy:
        copy.set_types(("text", "text", "uuid", "bytea", "bytea", "text"))
        for row in rows:
            copy.write_row(row)
    queries.enter_embedding_gate(connection, gate=GATE)
    written: int = queries.keep_vectors(connection)
    return written
