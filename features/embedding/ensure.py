"""An encoder for training: the newest one of which no vector is missing, made where there is none."""

import threading

from features.db.connection import connect
from features.embedding.encoders import name_encoders, newest_ready
from features.embedding.fitting import fit
from features.embedding.run import Embedder, EmbedOptions
from features.settings import Settings


def ensure_encoder(settings: Settings) -> str | None:
    """Return the digest of the newest encoder that is ready, noted as named by a bundle; None if no item has a text.

    Fits one where there is none or drift asks for it, and embeds what waits, beside whatever embedders run: afterwards
    every item that was there at the call has a vector by it.

    Raises
    ------
    UnavailableError
        If Postgres is away.
    """
    fit(settings, if_needed=True)
    Embedder(settings, EmbedOptions(once=True, fits=False), threading.Event()).run()
    with connect(settings, name="encoders", autocommit=True) as connection:
        newest = newest_ready(connection)
        if newest is None:
            return None
        name_encoders(connection, [newest.digest])
        return newest.digest
