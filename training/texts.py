"""Texts of items as training reads them: documents of a catalogue file, their content vectors, who is near whom."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from features.contracts.columns import ATTRIBUTES, CATEGORIES, ITEM, TEXT, TITLE
from features.contracts.ids import MISSING, IdMap
from features.contracts.times import EPOCH, to_us
from features.embedding.rows import unpacked_terms, unpacked_vectors
from features.text.documents import Document, document_of
from features.text.encoder import Encoder
from features.text.search import TextIndex
from features.text.svd import fit_svd
from features.text.terms import joined
from training.bundle.parts import Parts
from training.bundle.sources import CONTENT
from training.bundle.tables import MAX_NEIGHBOURS, NeighbourTable
from training.catalogue import json_object
from training.data import Interactions
from training.frames import category_list, read_frame, read_items
from training.progress import Progress, silent

FitEncoder = Callable[[Sequence[Document]], Encoder]
"""How an encoder comes of a corpus."""

AUTHOR_NAMES: Final = ("author", "authors")
"""Columns of a catalogue file that name who made an item."""
EXACT_PAIRS: Final = 2.5e9
"""Pairs of items up to which all are compared; above it, those in near cells of an inverted file."""
_PROBED: Final = 16
_SEARCHED: Final = 512
"""Items whose nearest ones are searched for at once."""
_LOT: Final = 1_000
"""Documents that are embedded at once."""

Vectors = npt.NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class ItemTexts:
    """Content vectors of all items, in training's internal order.

    Attributes
    ----------
    encoder
        Digest of the encoder.
    vectors
        float16 (n_items, n_dimensions), of length 1; zeros where an item has no text.
    neighbours
        Each item's nearest texts by cosine; they depend on no history, so that all fits share them.
    until_us
        Texts that were known before it are in, microseconds since 1970 UTC.
    index
        Search in the texts, for a bundle that is to be served; None where nobody searches.
    """

    encoder: str
    vectors: Vectors
    neighbours: NeighbourTable
    until_us: int
    index: TextIndex | None = None


def load_documents(path: Path | None, items: IdMap) -> list[Document]:
    """Return what a parquet file says of items in words, in their order; empty documents where it says nothing.

    Columns `title`, `text`, `categories`, `author` (or `authors`) and `attributes` (JSON text) are read.

    Raises
    ------
    ContractError
        If the file cannot be read or has no `item_id`.
    """
    documents = [document_of("", "", (), {})] * len(items)
    if path is None:
        return documents
    frame = read_items(path)
    rows = items.index_or_missing(frame[ITEM].astype(str)).tolist()
    columns = (_words(frame, TITLE), _words(frame, TEXT), _categories(frame), _attributes(frame))
    for row, title, text, categories, attributes in zip(rows, *columns, strict=True):
        if row != MISSING:
            documents[row] = document_of(title, text, categories, attributes)
    return documents


def fit_texts(
    path: Path | None,
    known: Interactions,
    until_us: int,
    fit_encoder: FitEncoder = fit_svd,
    progress: Progress = silent,
) -> ItemTexts | None:
    """Return the content vectors of all items by an encoder fitted on those that somebody met; None without texts.

    An encoder learns which words go together: what is new is read by it, and teaches it nothing.
    """
    documents = load_documents(path, known.items)
    met = np.unique(known.item).tolist()
    if not any(documents[row].whole for row in met):
        return None
    encoder = fit_encoder([documents[row] for row in met])
    lots = []
    for start in range(0, len(documents), _LOT):
        progress(f"texts: {start} of {len(documents)} read")
        lots.append(encoder.encode_documents(documents[start : start + _LOT]).astype(np.float16))
    vectors = np.concatenate(lots)
    return ItemTexts(encoder.digest, vectors, nearest_texts(vectors), until_us)


def exported_texts(path: Path, encoder: Encoder, items: IdMap, documents: Sequence[Document]) -> ItemTexts:
    """Return content vectors and a search index of all items, as a bundle serves them.

    Parameters
    ----------
    path
        What `features.embedding.export` wrote of the encoder; items that it lacks (deleted ones, of which histories
        still tell) are embedded here.
    encoder
        Whose vectors these are.
    documents
        Of all items, in their order.
    """
    frame = read_frame(path)
    rows = items.index_or_missing(frame[ITEM])
    frame, rows = frame[rows != MISSING], rows[rows != MISSING]
    rest = np.setdiff1d(np.arange(len(items)), rows)
    lots = [encoder.embed([documents[row] for row in part.tolist()]) for part in _lots(rest)]
    stored = unpacked_vectors(frame["vector"].tolist(), encoder.dimension)
    order = np.argsort(np.concatenate((rows, rest)))
    vectors = np.concatenate((stored, *(lot.vectors.astype(np.float16) for lot in lots)))[order]
    terms = joined([unpacked_terms(frame["terms"].tolist()), *(lot.terms for lot in lots)]).take(order)
    until = frame["embedded_at"].max() if len(frame) else EPOCH
    index = TextIndex.build(vectors, terms)
    return ItemTexts(encoder.digest, vectors, nearest_texts(vectors), to_us(until), index)


def _lots(rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, len(rows), _LOT):
        yield rows[start : start + _LOT]


def texts_of(parts: Parts) -> ItemTexts | None:
    """Return the texts that a bundle holds, None where it knows none."""
    content = parts.content
    if content is None:
        return None
    return ItemTexts(content.encoder, content.vectors, parts.tables[CONTENT], content.until_us, content.index)


def nearest_texts(vectors: Vectors) -> NeighbourTable:
    """Return the table of each item's nearest items by cosine; items without a text have and are no neighbours."""
    n_items = len(vectors)
    some = np.flatnonzero(vectors.any(axis=1))
    if len(some) < 2:
        return NeighbourTable.from_matrix(sparse.csr_matrix((n_items, n_items), dtype=np.float32))
    rows = np.ascontiguousarray(vectors[some], dtype=np.float32)
    near, place = _search(_searcher(rows), rows, min(MAX_NEIGHBOURS + 1, len(some)))  # each is its own nearest
    found = place.ravel() >= 0
    owner = np.repeat(some, place.shape[1])[found]
    entries = (near.ravel()[found], (owner, some[place.ravel()[found]]))
    return NeighbourTable.from_matrix(sparse.coo_matrix(entries, shape=(n_items, n_items)).tocsr())


def _search(index: faiss.Index, rows: npt.NDArray[np.float32], k: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return similarities and places of each row's nearest rows, (n, k) each, whatever the number of threads.

    By matrix products, a seventh of the time that FAISS takes for one row after the other. How these round depends on
    how many rows are multiplied at once, so that a lot of rows is what one thread does at a time.
    """
    lots = [rows[start : start + _SEARCHED] for start in range(0, len(rows), _SEARCHED)]
    one_by_one = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = 1
    try:
        with ThreadPoolExecutor(
            faiss.omp_get_max_threads(), initializer=faiss.omp_set_num_threads, initargs=(1,)
        ) as pool:
            found = list(pool.map(lambda lot: index.search(lot, k), lots))
    finally:
        faiss.cvar.distance_compute_blas_threshold = one_by_one
    near, place = zip(*found, strict=True)
    return np.concatenate(near), np.concatenate(place)


def _searcher(rows: npt.NDArray[np.float32]) -> faiss.Index:
    flat = faiss.IndexFlatIP(rows.shape[1])
    if len(rows) ** 2 <= EXACT_PAIRS:
        flat.add(rows)
        return flat
    cells = int(4 * np.sqrt(len(rows)))
    inverted = faiss.IndexIVFFlat(flat, rows.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    inverted.train(rows[:: max(len(rows) // (40 * cells), 1)])
    inverted.add(rows)
    inverted.nprobe = _PROBED
    return inverted


def _words(frame: pd.DataFrame, name: str) -> list[str]:
    if name not in frame:
        return [""] * len(frame)
    return [entry if isinstance(entry, str) else "" for entry in frame[name]]


def _categories(frame: pd.DataFrame) -> list[list[str]]:
    if CATEGORIES not in frame:
        return [[] for _ in range(len(frame))]
    return [category_list(entry) for entry in frame[CATEGORIES]]


def _attributes(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the `attributes` of each row, and the author where a column of its own names one."""
    said = (
        [json_object(entry) for entry in frame[ATTRIBUTES]] if ATTRIBUTES in frame else [{} for _ in range(len(frame))]
    )
    for name in AUTHOR_NAMES:
        for entry, author in zip(said, _words(frame, name), strict=True):
            if author:
                entry.setdefault("author", author)
    return said
