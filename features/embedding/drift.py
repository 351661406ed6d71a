"""Whether an encoder still fits the texts that come: its corpus was small and has grown, or new texts are unlike it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Final

from features.db.connection import Connection, database_errors
from features.db.queries import queries
from features.embedding.encoders import EncoderInfo
from features.text.documents import MAX_CHARS, Document, document_of
from features.text.encoder import Encoder
from features.text.svd import KIND, fit_svd

SMALL: Final = 5_000
"""Texts of a fit below which more of them make a better encoder."""
GROWTH: Final = 4
"""A small corpus that is so many times as large deserves another fit."""
RECENT: Final = 1_000
"""Texts that drift is measured on, the ones that changed last."""
LEAST: Final = 500
"""New texts below which drift is not measured: few of them may be unlike the rest by chance."""
DRIFTED: Final = 0.6
"""Share of what was explained of texts held out of the fit, below which new ones are drifting away. Of another kind of
texts (books after films, descriptions after titles) a third to a half is explained; of the same kind, nearly all."""
HELD_OUT: Final = "held_out_explained"
"""Name of the figure of a fit that drift is held against."""
SAMPLE: Final = 5_000
"""Texts that the figure is measured on, a fifth of them held out."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How well an encoder explains what came after its fit.

    Attributes
    ----------
    texts
        How many it was measured on.
    explained
        Mean share of the texts' squared TF-IDF norm that their vectors keep.
    expected
        The same of texts held out of the fit, when it was made.
    """

    texts: int
    explained: float
    expected: float

    @property
    def drifted(self) -> bool:
        """Return whether the encoder should be fitted anew."""
        return self.explained < DRIFTED * self.expected

    def __str__(self) -> str:
        """Return it in words."""
        return (
            f"{self.explained:.3f} of {self.texts} new texts is explained, {self.expected:.3f} of texts held out of "
            "the fit was"
        )


def held_out_explained(documents: Sequence[Document]) -> float | None:
    """Return how well an encoder fitted on four fifths of some texts explains the others; None where they are few."""
    step = max(1, len(documents) // SAMPLE)
    some = documents[::step][:SAMPLE]
    if len(some) < LEAST:
        return None
    held_out = some[::5]
    fitted_on = [document for at, document in enumerate(some) if at % 5]
    return fit_svd(fitted_on).explained(held_out)


def drift(connection: Connection, encoder: Encoder, info: EncoderInfo) -> Drift | None:
    """Return how well an encoder explains the newest texts; None where they are few, or its kind has no such figure."""
    expected = info.figures.get(HELD_OUT)
    if expected is None:
        return None
    with database_errors("reading the newest texts"):
        rows = queries.newest_texts(connection, since=info.created_at, at_most=RECENT, most_chars=MAX_CHARS)
        documents = list(starmap(document_of, rows))
    if len(documents) < LEAST:
        return None
    return Drift(len(documents), encoder.explained(documents), float(expected))


def outgrown(info: EncoderInfo, texts: int) -> bool:
    """Return whether an encoder was fitted on few texts and there are many times as many now."""
    return info.kind == KIND and info.fitted_on < SMALL and texts >= GROWTH * max(info.fitted_on, 1)
