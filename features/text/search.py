"""Search in texts: postings by term and vectors, whose matches add to one absolute score; exact, and immutable."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.compiled import read_only
from features.contracts.errors import ContractError
from features.text.encoder import Query
from features.text.lexicon import Sought
from features.text.loops import N_WORDS, add_matches, add_products, best_rows
from features.text.terms import Terms, places

Rows = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float32]
Eligible = npt.NDArray[np.bool_]

HALVES: Final = read_only(np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32))
"""The value of every float16 by its bits: compiled code knows no half precision."""
ARRAYS: Final = ("vectors", "terms", "starts", "rows", "values")
"""Names of an index's arrays, in `TextIndex.arrays`."""
LIKENESS: Final = read_only(np.array([1.0, 0.05], np.float32))
"""What all runs of letters of a word are worth: at most, in place of the word where it is not there, and beside it."""
LEAST: Final = 0.02
"""Scores up to this are chance: nothing of what was sought is there."""
_EXPONENT: Final = np.float32(2.0**112)
_ALL: Final = read_only(np.zeros(0, np.bool_))


@dataclass(frozen=True, slots=True, eq=False)
class TextIndex:
    """Vectors and postings of documents; rows are the documents in the order they were given.

    Scores depend on the query and the row alone: those of two indexes of one encoder can be merged.

    Attributes
    ----------
    vectors
        float16 (n_rows, dimension), of length one or zero.
    terms
        int32 (n_terms,), ascending: those that any row holds.
    starts
        int64 (n_terms + 1,), where each term's postings begin.
    rows, values
        int32 and float16 (n_postings,): which rows hold the term, ascending, and what it weighs there.
    """

    vectors: npt.NDArray[np.float16]
    terms: Rows
    starts: npt.NDArray[np.int64]
    rows: Rows
    values: npt.NDArray[np.float16]

    @classmethod
    def build(cls, vectors: npt.NDArray[Any], terms: Terms) -> "TextIndex":
        """Return the index of documents by their vectors (n, dimension) and weighed terms."""
        if len(vectors) != len(terms):
            raise ContractError(f"text index: {len(vectors)} vectors, {len(terms)} documents' terms; give one of each.")
        order = np.argsort(terms.index, kind="stable")
        known, first = np.unique(terms.index[order], return_index=True)
        starts = np.append(first, len(order)).astype(np.int64)
        row = np.repeat(np.arange(len(terms), dtype=np.int32), np.diff(terms.offsets))
        halves = np.ascontiguousarray(vectors, dtype=np.float16)
        return cls(halves, known, starts, row[order], terms.value[order].astype(np.float16))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "TextIndex":
        """Return an index from its arrays, memory-mapped or not."""
        return cls(*(arrays[name] for name in ARRAYS))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what `from_arrays` takes."""
        return {name: getattr(self, name) for name in ARRAYS}

    @property
    def n_rows(self) -> int:
        """Return the number of documents."""
        return len(self.vectors)

    def search(self, query: Query, k: int, eligible: Eligible | None = None) -> tuple[Rows, Scores]:
        """Return the at most k eligible rows that match best, best first, of equal ones the earlier, and their scores.

        Parameters
        ----------
        query
            From `query_of`, by the encoder that made the vectors and terms.
        k
            How many at most; rows that match nothing are never among them.
        eligible
            bool (n_rows,), or None where all rows are.
        """
        scores = self._products(query.vector)
        np.maximum(scores, 0.0, out=scores)
        self._add_matches(query.sought, scores)
        return self._best(scores, k, eligible, LEAST)

    def _add_matches(self, sought: Sought, scores: Scores) -> None:
        terms = sought.terms
        add_matches(
            read_only(terms.offsets),
            read_only(places(self.terms, terms.index)),
            read_only(terms.index < N_WORDS),
            read_only(terms.value),
            read_only(sought.worth),
            read_only(self.starts),
            read_only(self.rows),
            read_only(self.values.view(np.uint16)),
            HALVES,
            LIKENESS,
            scores,
        )

    def nearest(self, vector: npt.NDArray[np.float32], k: int, eligible: Eligible | None = None) -> tuple[Rows, Scores]:
        """Return the at most k eligible rows of largest positive cosine with a vector of length one, and cosines."""
        return self._best(self._products(vector), k, eligible, 0.0)

    def _products(self, vector: npt.NDArray[np.float32]) -> Scores:
        if vector.shape != self.vectors.shape[1:]:
            raise ContractError(
                f"text index: vectors of {self.vectors.shape[1]} dimensions, asked for {vector.shape}; "
                "ask by the encoder that made them."
            )
        scores = np.zeros(self.n_rows, np.float32)
        if vector.any():
            vectors = read_only(self.vectors.view(np.uint16))
            add_products(vectors, read_only(vector.astype(np.float32) * _EXPONENT), scores)
        return scores

    @staticmethod
    def _best(scores: Scores, k: int, eligible: Eligible | None, least: float) -> tuple[Rows, Scores]:
        found = best_rows(scores, _ALL if eligible is None else read_only(eligible), least, max(k, 0))
        return found, scores[found]
