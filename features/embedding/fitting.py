"""Fitting an encoder on the texts in Postgres: when it is time, one at a time, kept for the embedders to build."""

import time
from dataclasses import dataclass
from datetime import timedelta
from itertools import starmap
from pathlib import Path
from typing import Final

import structlog

from features.contracts.errors import MarqueeError
from features.db.connection import Connection, connect, database_errors
from features.db.queries import queries
from features.embedding.drift import HELD_OUT, Drift, drift, held_out_explained, outgrown
from features.embedding.encoders import BUILDING, RETIRED, known_encoders, load_encoder, put_encoder
from features.settings import Settings
from features.text import minilm
from features.text.documents import MAX_CHARS, Document, document_of
from features.text.encoder import Encoder
from features.text.svd import KIND, MAX_FITTED, fit_svd

log = structlog.get_logger()

LOCK: Final = 7_203_004
"""Advisory lock of who fits; any number that nothing else in this database uses."""
FIRST_TEXTS: Final = 50
"""Texts that a first encoder is fitted on at once."""
QUIET: Final = timedelta(seconds=3)
"""How long fewer texts wait for more to come: then they get an encoder of their own, which growth replaces soon."""
STATEMENT_S: Final = 600


class NothingToFitError(MarqueeError):
    """There is no text to fit an encoder on."""


@dataclass(frozen=True, slots=True)
class Need:
    """Whether a new encoder should be fitted.

    Attributes
    ----------
    reason
        Why; None where there is no need.
    drift
        How well the newest encoder explains new texts, where that was measured.
    """

    reason: str | None
    drift: Drift | None = None


def need_of_fit(settings: Settings, connection: Connection, *, at_once: bool = False) -> Need:
    """Return whether a new encoder should be fitted now; there is no need while one is being built.

    Parameters
    ----------
    settings
        Where copies of encoders lie.
    connection
        In no transaction.
    at_once
        Whether a first encoder is wanted however few texts there are.

    Raises
    ------
    UnavailableError
        If Postgres is away.
    """
    known = [one for one in known_encoders(connection) if one.state != RETIRED]
    with database_errors("counting texts"):
        texts: int = queries.count_texts(connection)
        if not known:
            return Need(_first(connection, texts, at_once=at_once))
    newest = known[0]
    if any(one.state == BUILDING for one in known) or newest.kind != KIND:
        return Need(None)
    if outgrown(newest, texts):
        return Need(f"the corpus grew from {newest.fitted_on} to {texts} texts")
    encoder = load_encoder(settings, newest.digest, encoder_folder(settings))
    measured = drift(connection, encoder, newest)
    return Need(str(measured) if measured and measured.drifted else None, measured)


def fit(
    settings: Settings, *, if_needed: bool = False, wait: bool = True, minilm_folder: Path | None = None
) -> str | None:
    """Return the digest of an encoder that was fitted and put into Postgres, to be built; None where there is no need.

    Parameters
    ----------
    settings
        Where Postgres is.
    if_needed
        Whether to fit only if `need_of_fit` says so.
    wait
        Whether to wait while somebody else fits; otherwise there is no need then.
    minilm_folder
        Holds a language model's graph and tokenizer, for an encoder of that kind; its search terms are fitted.

    Raises
    ------
    NothingToFitError
        If there is no text and a fit was asked for.
    UnavailableError
        If Postgres is away.
    """
    # The lock is the session's: it ends with it, however that ends.
    with connect(settings, name="fit", autocommit=True, statement_timeout_s=STATEMENT_S) as connection:
        with database_errors("asking whether anybody fits"):
            if wait:
                queries.await_fit(connection, lock=LOCK)
            elif not queries.try_fit(connection, lock=LOCK):
                return None
        reason = need_of_fit(settings, connection, at_once=wait).reason if if_needed else "asked for"
        return None if reason is None else _fit(settings, connection, reason, minilm_folder)


def _first(connection: Connection, texts: int, *, at_once: bool) -> str | None:
    if texts >= FIRST_TEXTS or (texts and at_once):
        return f"no encoder yet, texts to fit one on: {texts}"
    if texts and queries.quiet_for(connection) > QUIET:
        return f"no encoder yet, texts to fit one on: {texts}, and no more have come"
    return None


def encoder_folder(settings: Settings) -> Path:
    """Return where verified copies of encoders lie."""
    return settings.cache_dir / "encoders"


def _fit(settings: Settings, connection: Connection, reason: str, minilm_folder: Path | None) -> str:
    began_s = time.monotonic()
    with database_errors("reading texts"):
        rows = queries.texts_to_fit(connection, at_most=MAX_FITTED, most_chars=MAX_CHARS)
        documents = list(starmap(document_of, rows))
    if not documents:
        raise NothingToFitError("there is no item in the catalogue to fit an encoder on; publish some first.")
    log.info("fitting an encoder", texts=len(documents), reason=reason)
    encoder, figures = _fitted(documents, minilm_folder)
    figures |= {"reason": reason, "fit_s": round(time.monotonic() - began_s, 1)}
    # A connection of its own: Postgres may have been started anew while we fitted, and the encoder is good.
    with connect(settings, name="fit", autocommit=True, statement_timeout_s=STATEMENT_S) as fresh:
        return put_encoder(fresh, encoder, figures)


def _fitted(documents: list[Document], minilm_folder: Path | None) -> tuple[Encoder, dict[str, object]]:
    if minilm_folder is not None:
        return minilm.fit_minilm(minilm_folder, documents), {}
    held_out = held_out_explained(documents)
    return fit_svd(documents), {} if held_out is None else {HELD_OUT: held_out}
