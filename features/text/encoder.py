"""What an encoder is: texts in, vectors out, under the name of its digest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from features.contracts.errors import ContractError
from features.text.documents import Document
from features.text.lexicon import Blend, Lexicon, Sought
from features.text.terms import MAX_QUERY, Terms, query_terms

Vectors = npt.NDArray[np.float32]


class EncoderError(ContractError):
    """An encoder's files are not what its digest or this code's contract says, or what it runs on is missing."""


class Encoder(Protocol):
    """Texts in, vectors out: row i depends on text i alone, whatever the batch, to the last bit."""

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the manifest of its files: its name everywhere."""
        ...

    @property
    def kind(self) -> str:
        """Return "svd" or "minilm"."""
        ...

    @property
    def dimension(self) -> int:
        """Return the length of its vectors."""
        ...

    @property
    def lexicon(self) -> Lexicon:
        """Return what the corpus that it was fitted on says of terms."""
        ...

    @property
    def blend(self) -> Blend:
        """Return what words and vectors are worth in a search."""
        ...

    @property
    def facts(self) -> Mapping[str, int | float | str]:
        """Return what is to be known of its fit: settings and figures, as in its manifest."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return float32 (n, dimension): rows of length one, or zero where nothing is known of a text."""
        ...

    def encode_query(self, text: str) -> Vectors:
        """Return float32 (dimension,): the text's vector, the shorter the less the encoder knows of its words."""
        ...

    def encode_documents(self, documents: Sequence[Document]) -> Vectors:
        """Return the vectors of documents, which know their fields apart; as `encode` otherwise."""
        ...

    def embed(self, documents: Sequence[Document]) -> "Embedded":
        """Return vectors and weighed terms of documents: all that search and recommendation keep of them."""
        ...

    def weigh(self, terms: Terms) -> Terms:
        """Return terms of documents with the weights that a search index keeps."""
        ...

    def explained(self, documents: Sequence[Document]) -> float:
        """Return the mean share of the documents' weight that the vectors keep, in [0, 1]: falls when texts drift."""
        ...

    def files(self) -> Mapping[str, bytes | Path]:
        """Return its files but the manifest, by name: content, or where it lies."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Documents as an encoder sees them: `vectors` float32 (n, dimension) and their weighed `terms`."""

    vectors: Vectors
    terms: Terms


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What is searched for: a vector float32 (dimension,) and words, with their worth in the score multiplied in."""

    vector: Vectors
    sought: Sought


def query_of(encoder: Encoder, text: str, blend: Blend | None = None) -> Query:
    """Return a search's text as one encoder sees it, with the encoder's own blend by default."""
    cut, worth = text[:MAX_QUERY], blend or encoder.blend
    vector = encoder.encode_query(cut) * np.float32(worth.vectors)
    return Query(vector, encoder.lexicon.sought(query_terms(cut), worth.words))
