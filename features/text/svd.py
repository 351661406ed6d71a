"""The default encoder: hashed TF-IDF, and its truncated singular value decomposition."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from features.compiled import read_only
from features.text.documents import Document
from features.text.encoder import Embedded
from features.text.lexicon import LEXICON_FILE, Blend, Lexicon, fit_lexicon, read_lexicon
from features.text.loops import N_WORDS, project
from features.text.manifest import npy, sealed
from features.text.terms import Terms, places, plain_terms, terms_of

KIND: Final = "svd"
BLEND: Final = Blend(words=0.85, vectors=0.15)
MAX_FITTED: Final = 200_000
"""Documents that a fit reads: more move the axes little."""
MAX_AXES: Final = 1 << 15
"""Terms that vectors are made of: the most frequent ones, each in at least two documents."""
_DIMENSIONS: Final = ((20_000, 512), (200_000, 256))
"""Axes by the number of documents up to which a corpus gets them; of larger ones, `_LEAST`."""
_LEAST: Final = 128
_LOT: Final = 1_000

Singles = npt.NDArray[np.float32]


class SvdEncoder:
    """Hashed TF-IDF of words, on the axes along which a corpus varies most.

    Parameters
    ----------
    lexicon
        Of the corpus that the axes were fitted on.
    kept
        int32 (n_kept,), ascending: the terms that vectors are made of.
    axes
        float32 (n_kept, dimension), a row for each of them.
    facts
        Settings and figures of the fit.
    """

    kind = KIND
    blend = BLEND

    def __init__(
        self, lexicon: Lexicon, kept: npt.NDArray[np.int32], axes: Singles, facts: Mapping[str, int | float | str]
    ) -> None:
        self.lexicon = lexicon
        self.facts = facts
        self._kept, self._axes = read_only(kept), read_only(axes)

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of its manifest."""
        return sealed(self)[1]

    @property
    def dimension(self) -> int:
        """Return the length of its vectors."""
        return int(self._axes.shape[1])

    def encode(self, texts: Sequence[str]) -> Singles:
        """Return float32 (n, dimension), rows of length one or zero."""
        return self._lots([plain_terms(texts[at : at + _LOT]) for at in range(0, len(texts), _LOT)])

    def encode_query(self, text: str) -> Singles:
        """Return float32 (dimension,), as long as the share of the text's weight that lies along the axes."""
        terms = plain_terms([text])
        vectors, lengths = self._project(terms)
        whole = float(np.linalg.norm(dense_weights(self.lexicon, terms)))
        vector: Singles = vectors[0] * np.float32(lengths[0] / whole if whole > 0 else 0.0)
        return vector

    def encode_documents(self, documents: Sequence[Document]) -> Singles:
        """Return float32 (n, dimension), rows of length one or zero."""
        return self._lots([terms_of(documents[at : at + _LOT]) for at in range(0, len(documents), _LOT)])

    def embed(self, documents: Sequence[Document]) -> Embedded:
        """Return vectors and weighed terms."""
        terms = terms_of(documents)
        return Embedded(self._project(terms)[0], self.weigh(terms))

    def weigh(self, terms: Terms) -> Terms:
        """Return terms with the weights that a search index keeps."""
        return self.lexicon.weigh(terms)

    def explained(self, documents: Sequence[Document]) -> float:
        """Return the mean share of squared TF-IDF that lies along the axes, 0 where there is nothing to explain."""
        terms = terms_of(documents)
        row = np.repeat(np.arange(len(terms)), np.diff(terms.offsets))
        whole = np.bincount(row, weights=dense_weights(self.lexicon, terms) ** 2, minlength=len(terms))
        along = self._project(terms)[1].astype(np.float64) ** 2
        share = along[whole > 0] / whole[whole > 0]
        return float(share.mean()) if len(share) else 0.0

    def files(self) -> Mapping[str, bytes | Path]:
        """Return its arrays as files."""
        return {
            "axes.npy": npy(self._axes),
            LEXICON_FILE: npy(self.lexicon.table),
            "terms.npy": npy(self._kept),
        }

    def _lots(self, lots: Sequence[Terms]) -> Singles:
        vectors = [np.zeros((0, self.dimension), np.float32), *(self._project(lot)[0] for lot in lots)]
        return np.concatenate(vectors)

    def _project(self, terms: Terms) -> tuple[Singles, Singles]:
        """Return vectors, and their lengths before these became one."""
        out = np.empty((len(terms), self.dimension), np.float32)
        place, weight = places(self._kept, terms.index), dense_weights(self.lexicon, terms)
        return out, project(read_only(terms.offsets), read_only(place), read_only(weight), self._axes, out)


def fit_svd(documents: Sequence[Document], *, dimension: int | None = None, seed: int = 0) -> SvdEncoder:
    """Return the default encoder for a corpus; needs scikit-learn, which serving does not.

    A small corpus has fewer axes than `dimension`: the rest of each vector is zero. By default it is `dimension_for`.
    """
    dimension = dimension_for(len(documents)) if dimension is None else dimension
    lexicon = fit_lexicon(documents)
    chosen: Sequence[Document] = documents
    if len(documents) > MAX_FITTED:
        rows = np.random.default_rng(seed).choice(len(documents), MAX_FITTED, replace=False)
        chosen = [documents[row] for row in np.sort(rows)]
    kept = _kept_terms(lexicon)
    matrix = tf_idf(lexicon, terms_of(chosen), kept)
    axes = np.zeros((len(kept), dimension), np.float32)
    found = _axes(matrix, dimension, seed)
    axes[:, : found.shape[1]] = found
    facts: dict[str, int | float | str] = {
        **lexicon.facts,
        "n_axes": found.shape[1],
        "seed": seed,
    }
    encoder = SvdEncoder(lexicon, kept, axes, facts)
    sample = chosen[:: max(1, len(chosen) // 2_000)]
    return SvdEncoder(lexicon, kept, axes, {**facts, "explained": encoder.explained(sample)})


def dimension_for(n_documents: int) -> int:
    """Return how many axes a corpus gets: the more, the better new items are known by their texts.

    Vectors of a catalogue stay within 20 to 100 MB, and a fit within seconds.
    """
    return next((dimension for at_most, dimension in _DIMENSIONS if n_documents <= at_most), _LEAST)


def dense_weights(lexicon: Lexicon, terms: Terms) -> Singles:
    """Return what each term counts for in a vector: damped count times smoothed rarity; 0 for runs of letters."""
    rarity = np.log((1.0 + lexicon.n_documents) / (1.0 + lexicon.held(terms.index))) + 1.0
    return np.where(terms.index < N_WORDS, np.log1p(terms.value) * rarity, 0.0).astype(np.float32)


def tf_idf(lexicon: Lexicon, terms: Terms, kept: npt.NDArray[np.int32]) -> sparse.csr_matrix:
    """Return the documents' weights of the terms kept, float32 (n_documents, n_kept), rows of length one with all."""
    place, weight = places(kept, terms.index), dense_weights(lexicon, terms)
    row = np.repeat(np.arange(len(terms)), np.diff(terms.offsets))
    length = np.sqrt(np.bincount(row, weights=weight.astype(np.float64) ** 2, minlength=len(terms)))
    value = (weight / np.maximum(length, 1e-12)[row]).astype(np.float32)
    there = place >= 0
    return sparse.csr_matrix((value[there], (row[there], place[there])), shape=(len(terms), len(kept)))


def _kept_terms(lexicon: Lexicon) -> npt.NDArray[np.int32]:
    words = np.flatnonzero(lexicon.terms < N_WORDS)
    most = words[np.argsort(-lexicon.frequency[words], kind="stable")[:MAX_AXES]]
    return lexicon.terms[np.sort(most)]


def _axes(matrix: sparse.csr_matrix, dimension: int, seed: int) -> Singles:
    """Return right singular vectors, float32 (n_terms, at most dimension)."""
    from sklearn.decomposition import TruncatedSVD  # noqa: PLC0415 - not in the serving image

    n = min(dimension, *(size - 1 for size in matrix.shape))
    if n < 1 or not matrix.nnz:
        return np.zeros((matrix.shape[1], 0), np.float32)
    fitted = TruncatedSVD(n, random_state=seed, n_iter=4).fit(matrix)
    return np.ascontiguousarray(fitted.components_.T.astype(np.float32))


def read(folder: Path, facts: Mapping[str, int | float | str]) -> SvdEncoder:
    """Return an encoder from its files, verified before."""
    axes, kept = (np.load(folder / name, allow_pickle=False) for name in ("axes.npy", "terms.npy"))
    return SvdEncoder(read_lexicon(folder, facts), kept, axes, facts)
