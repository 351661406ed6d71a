"""What a corpus says of terms: how many documents hold each, and how much a match of it is worth in search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from features.compiled import read_only
from features.text.documents import Document
from features.text.loops import N_WORDS, weigh_terms
from features.text.terms import Terms, places, terms_of

Singles = npt.NDArray[np.float32]

SATURATION: Final = (0.6, 0.6)
"""BM25's k1 for words and for runs of letters: how soon more of the same says no more."""
LENGTH_SHARE: Final = (0.5, 0.6)
"""BM25's b for words and for runs of letters: how much longer documents lose."""
LEXICON_FILE: Final = "lexicon.npy"
_LOT: Final = 10_000


class Blend(NamedTuple):
    """What complete matches are worth in a search's score: of the words sought, and of the vector."""

    words: float
    vectors: float


@dataclass(frozen=True, slots=True, eq=False)
class Sought:
    """Words that are searched for.

    Attributes
    ----------
    terms
        A row for each word: those that stand for it as it is spelt, and its runs of letters. The values are the
        shares of each of the two.
    worth
        float32 (n_words,), what a complete match of each adds to the score.
    """

    terms: Terms
    worth: Singles


@dataclass(frozen=True, eq=False)
class Lexicon:
    """How many documents of a corpus hold each term, and how long they are.

    Attributes
    ----------
    terms
        int32 (n_terms,), ascending: those that at least two documents hold. Others count as held by one.
    frequency
        int32 (n_terms,), documents that hold each of them.
    n_documents
        In the corpus.
    mean_words, mean_grams
        Mean sums of counts, at least 1.
    """

    terms: npt.NDArray[np.int32]
    frequency: npt.NDArray[np.int32]
    n_documents: int
    mean_words: float
    mean_grams: float

    def held(self, index: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """Return how many documents hold each term, at least 1."""
        place = places(self.terms, index)
        return np.where(place < 0, 1, self.frequency[place]) if len(self.terms) else np.ones(len(index), np.int64)

    def rarity(self, index: npt.NDArray[np.int32]) -> Singles:
        """Return BM25's inverse document frequency of each term."""
        held = self.held(index)
        rarity: Singles = np.log1p(((self.n_documents - held + 0.5) / (held + 0.5)).clip(min=0)).astype(np.float32)
        return rarity

    @property
    def facts(self) -> dict[str, int | float | str]:
        """Return what `read_lexicon` needs beside the frequencies."""
        return {"n_documents": self.n_documents, "mean_words": self.mean_words, "mean_grams": self.mean_grams}

    @property
    def table(self) -> npt.NDArray[np.int32]:
        """Return terms and frequencies as one array, (2, n_terms), for its file."""
        return np.stack([self.terms, self.frequency])

    def weigh(self, terms: Terms) -> Terms:
        """Return terms of documents with BM25's weights, without rarity, which is the query's: all in (0, 1)."""
        out = np.empty(len(terms.index), np.float32)
        means = np.array([self.mean_words, self.mean_grams], np.float32)
        scales, shares = np.array(SATURATION, np.float32), np.array(LENGTH_SHARE, np.float32)
        weigh_terms(
            read_only(terms.offsets), read_only(terms.index), read_only(terms.value), means, scales, shares, out
        )
        return Terms(terms.offsets, terms.index, out)

    def sought(self, terms: Terms, worth: float) -> Sought:
        """Return words (`terms.query_terms`) with what each adds to the score: the rarer the more, `worth` in all."""
        rarity = self.rarity(terms.index)
        word = np.repeat(np.arange(len(terms)), np.diff(terms.offsets))
        spelt = terms.index < N_WORDS
        share, total = np.zeros_like(rarity), np.zeros(len(terms), np.float64)
        for mine, weight in ((spelt, rarity), (~spelt, np.ones_like(rarity))):
            sums = np.bincount(word[mine], weights=weight[mine], minlength=len(terms))
            share[mine] = weight[mine] / np.maximum(sums[word[mine]], 1e-9)
            if weight is rarity:
                total = sums / np.maximum(np.bincount(word[mine], minlength=len(terms)), 1)
        each = (worth * total / max(total.sum(), 1e-9)).astype(np.float32)
        return Sought(Terms(terms.offsets, terms.index, share), each)


def fit_lexicon(documents: Sequence[Document]) -> Lexicon:
    """Return what a corpus says of terms."""
    known, frequency = np.zeros(0, np.int32), np.zeros(0, np.int64)
    words = grams = 0.0
    for start in range(0, len(documents), _LOT):
        terms = terms_of(documents[start : start + _LOT])
        found, counts = np.unique(terms.index, return_counts=True)
        known, frequency = _added(known, frequency, found, counts)
        of_words = terms.index < N_WORDS
        words += float(terms.value[of_words].sum(dtype=np.float64))
        grams += float(terms.value[~of_words].sum(dtype=np.float64))
    n, often = max(len(documents), 1), frequency > 1
    means = (max(words / n, 1.0), max(grams / n, 1.0))
    return Lexicon(known[often], frequency[often].astype(np.int32), len(documents), *means)


def _added(
    known: npt.NDArray[np.int32],
    frequency: npt.NDArray[np.int64],
    found: npt.NDArray[np.int32],
    counts: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return terms and how many documents hold them, of what was counted and one lot more."""
    both, place = np.unique(np.concatenate([known, found]), return_inverse=True)
    total = np.bincount(place, weights=np.concatenate([frequency, counts]), minlength=len(both))
    return both, total.astype(np.int64)


def read_lexicon(folder: Path, facts: Mapping[str, int | float | str]) -> Lexicon:
    """Return a lexicon from an encoder's files and the facts of its manifest."""
    terms, frequency = np.load(folder / LEXICON_FILE, allow_pickle=False)
    return Lexicon(terms, frequency, int(facts["n_documents"]), float(facts["mean_words"]), float(facts["mean_grams"]))
