"""The encoders that every item is to have a vector by, loaded."""

from typing import Final

import structlog

from features.db.connection import Connection
from features.embedding.drift import SMALL
from features.embedding.encoders import BUILDING, RETIRED, EncoderInfo, known_encoders, load_encoder
from features.embedding.fitting import encoder_folder
from features.settings import Settings
from features.text import minilm
from features.text.encoder import Encoder, EncoderError

log = structlog.get_logger()

SLOW_BATCH: Final = 32
"""Texts of a batch for a language model, which takes tens of milliseconds for one."""


class InUse:
    """Encoders that are building or ready, as the last look found them.

    Parameters
    ----------
    settings
        Where Postgres is, and where copies of encoders lie.

    Attributes
    ----------
    encoders
        By digest, those that can be run here.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: list[EncoderInfo] = []
        self._refused: set[str] = set()
        self.encoders: dict[str, Encoder] = {}

    @property
    def any(self) -> bool:
        """Return whether there is one, also one that cannot be run here."""
        return bool(self._known)

    @property
    def building(self) -> bool:
        """Return whether one is being built that can be run here."""
        return any(one.state == BUILDING and one.digest in self.encoders for one in self._known)

    @property
    def small(self) -> bool:
        """Return whether the newest was fitted on a small corpus."""
        return self.any and self._known[0].fitted_on < SMALL

    @property
    def batch(self) -> int:
        """Return how many texts a batch may have, so that it does not take long."""
        slow = any(one.kind == minilm.KIND for one in self.encoders.values())
        return SLOW_BATCH if slow else 1_000_000

    def look(self, connection: Connection) -> bool:
        """Return whether there is an encoder that was not there before, after loading it and leaving out others."""
        self._known = [one for one in known_encoders(connection) if one.state != RETIRED]
        digests = [one.digest for one in self._known]
        self.encoders = {digest: encoder for digest, encoder in self.encoders.items() if digest in digests}
        new = [digest for digest in digests if digest not in self.encoders and digest not in self._refused]
        for digest in new:
            self._load(digest)
        return bool(new)

    def _load(self, digest: str) -> None:
        try:
            self.encoders[digest] = load_encoder(self._settings, digest, encoder_folder(self._settings))
        except EncoderError as error:
            # Others can be run, and may be what is served; who started this one has the words below to go by.
            self._refused.add(digest)
            log.error("an encoder cannot be run here; its vectors are left to other embedders", reason=str(error))  # noqa: TRY400
        else:
            log.info("an encoder is in use", encoder=digest[:12])
