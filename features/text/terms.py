"""Hashed terms of texts: words of everything, and runs of three letters of titles and names, where typing errors hurt.

There is no vocabulary: a term is a hash of 31 bits, the same on every machine. What is fitted on a corpus
(`features.text.lexicon`, `features.text.svd`) keeps those that it met, ascending, and finds them by `places`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.ragged import entries_of, offsets_of
from features.text.documents import MAX_AUTHOR, MAX_CATEGORIES, MAX_CATEGORY, MAX_CHARS, MAX_TITLE, Document, heading_of
from features.text.folding import fold
from features.text.loops import AUTHOR, CATEGORY, END, QUERY, TEXT, TITLE, count_terms

MAX_QUERY: Final = 500
"""Longest text that is searched for, in characters."""

FIELD_WEIGHTS: Final = np.zeros(8, dtype=np.float32)
FIELD_WEIGHTS[[TITLE, AUTHOR, CATEGORY, TEXT, QUERY]] = 3.0, 3.0, 1.0, 2.0, 1.0
FIELD_WEIGHTS.flags.writeable = False


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """Terms of several documents, end to end, ascending within each.

    Attributes
    ----------
    offsets
        int64 (n_documents + 1,): those of document i are `offsets[i]:offsets[i + 1]`.
    index
        int32, terms: words below `loops.N_WORDS`, runs of letters from there on.
    value
        float32, how often each occurs, by the weight of the field it stands in; or what was made of that.
    """

    offsets: npt.NDArray[np.int64]
    index: npt.NDArray[np.int32]
    value: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.offsets) - 1

    def of(self, row: int) -> "Terms":
        """Return the terms of one document."""
        begin, end = self.offsets[row], self.offsets[row + 1]
        return Terms(np.array([0, end - begin]), self.index[begin:end], self.value[begin:end])

    def take(self, rows: npt.NDArray[np.integer]) -> "Terms":
        """Return the terms of some documents, in the order asked for."""
        _, entries = entries_of(self.offsets, rows)
        return Terms(offsets_of(np.diff(self.offsets)[rows]), self.index[entries], self.value[entries])


def places(known: npt.NDArray[np.int32], index: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Return where each term stands among known ones, ascending, -1 where it does not."""
    place = np.searchsorted(known, index)
    place[place == len(known)] = 0
    return np.where(known[place] == index, place, -1) if len(known) else np.full(len(index), -1, np.int64)


def joined(parts: Sequence[Terms]) -> Terms:
    """Return the terms of several lots of documents as one."""
    lengths = [np.zeros(1, np.int64), *(np.diff(part.offsets) for part in parts)]
    index = [np.zeros(0, np.int32), *(part.index for part in parts)]
    value = [np.zeros(0, np.float32), *(part.value for part in parts)]
    return Terms(np.cumsum(np.concatenate(lengths)), np.concatenate(index), np.concatenate(value))


def terms_of(documents: Sequence[Document]) -> Terms:
    """Return the terms of documents; those of each depend on it alone."""
    return _counted(map(_marked, documents), len(documents))


def query_terms(text: str) -> Terms:
    """Return the terms of a text that is searched for, word by word: each different word is a row."""
    words = list(dict.fromkeys(fold(text[:MAX_QUERY]).split()))
    return _counted((chr(QUERY) + word + chr(END) for word in words), len(words))


def plain_terms(texts: Sequence[str]) -> Terms:
    """Return the terms of texts without fields."""
    return _counted((chr(QUERY) + fold(text[:MAX_CHARS]) + chr(END) for text in texts), len(texts))


def _marked(document: Document) -> str:
    """Return a document folded, each field after a control character that says which (folding leaves no others)."""
    title, text = document.title[:MAX_TITLE], document.text[:MAX_CHARS]
    if not title.strip():
        title, text = heading_of(text)
    parts = [chr(TITLE), fold(title), chr(AUTHOR), fold(document.author[:MAX_AUTHOR])]
    for category in document.categories[:MAX_CATEGORIES]:
        parts += [chr(CATEGORY), fold(category[:MAX_CATEGORY])]
    return "".join((*parts, chr(TEXT), fold(text), chr(END)))


def _counted(marked: Iterable[str], n_documents: int) -> Terms:
    """Return the terms of marked texts, in lots of a bounded size."""
    lots = [count_terms(_codes(lot), n_lot, FIELD_WEIGHTS) for lot, n_lot in _lots(marked)]
    if len(lots) == 1:
        return Terms(*lots[0])
    terms = joined([Terms(*lot) for lot in lots])
    assert len(terms) == n_documents  # noqa: S101 - every marked text ends once
    return terms


def _lots(marked: Iterable[str]) -> Iterator[tuple[str, int]]:
    lot: list[str] = []
    size = 0
    for text in marked:
        lot.append(text)
        size += len(text)
        if size > 1 << 20:
            yield "".join(lot), len(lot)
            lot, size = [], 0
    yield "".join(lot), len(lot)


def _codes(text: str) -> npt.NDArray[np.uint32]:
    """Return the code points of a folded text (which holds no lone surrogate)."""
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
