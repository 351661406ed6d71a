"""Texts: how fast they are encoded and searched on one core, and how well search answers questions about books."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from benchmarks.record import data_for, record, there_is_minilm
from benchmarks.text_queries import Books, Question, goodbooks, measures, questions
from features.text import minilm, svd
from features.text.documents import Document
from features.text.encoder import Encoder, Query, query_of
from features.text.lexicon import Blend
from features.text.loops import N_WORDS
from features.text.search import TextIndex
from features.text.svd import fit_svd
from ops.setup.minilm import model_folder
from training.texts import FitEncoder

ENCODED: Final = 20_000
SEARCHES: Final = 300
TEXT_CHARS: Final = 300
REPORTED: Final = 1
"""The half of the books that is reported on: weights were chosen on the other (0)."""
SPELT: Final = "words as spelt"
WAYS: Final[dict[str, Blend | None]] = {
    SPELT: Blend(1.0, 0.0),
    "words and runs of letters": Blend(1.0, 0.0),
    "vectors": Blend(0.0, 1.0),
    "all": None,
}


def run() -> None:
    """Measure encoding, search at 10,000 and 50,000 items, and quality by kind of question."""
    folder = data_for("text")
    if folder is None:
        return
    books = goodbooks(folder)
    with threadpool_limits(1):
        print("text: quality", flush=True)
        quality = _quality(books, fit_svd)
        print("text: speed", flush=True)
        figures = {"encoder": svd.KIND, "speed": _speed(books), "quality": quality}
        if there_is_minilm():
            print("text: MiniLM", flush=True)
            figures[minilm.KIND] = _by_minilm(books)
        record("text", figures)


def _by_minilm(books: Books) -> dict[str, Any]:
    """Return quality as for the default encoder, and how fast it reads."""
    fit = partial(minilm.fit_minilm, model_folder())
    some = books.documents(originals=True)[:SEARCHES]
    encoder = fit(some)
    started = time.perf_counter()
    encoder.encode_documents(some)
    rate = round(len(some) / (time.perf_counter() - started))
    return {"encode_texts_per_s": rate, "quality": _quality(books, fit)}


def _quality(books: Books, fit: FitEncoder) -> dict[str, Any]:
    """Return measures by kind of question and way of search, and for original titles that nobody published."""
    asked = questions(books, REPORTED)
    found = {}
    for published in (True, False):
        documents = books.documents(originals=published)
        encoder = fit(documents)
        index = _index(encoder, documents)
        for kind, some in asked.items():
            if published:
                found[kind] = {"questions": len(some), **_ways(encoder, index, some)}
            elif kind.startswith("original"):
                found[f"{kind}, not published"] = {"questions": len(some), **_ways(encoder, index, some)}
    return found


def _ways(encoder: Encoder, index: TextIndex, asked: Sequence[Question]) -> dict[str, dict[str, float]]:
    def answers(way: str) -> Iterator[npt.NDArray[np.int32]]:
        for question in asked:
            query = query_of(encoder, question.text, WAYS[way] or encoder.blend)
            yield index.search(_as_spelt(query) if way == SPELT else query, 10)[0]

    return {way: measures(answers(way), asked) for way in WAYS}


def _as_spelt(query: Query) -> Query:
    """Return a query without runs of letters."""
    terms = query.sought.terms
    value = np.where(terms.index < N_WORDS, terms.value, 0).astype(np.float32)
    return replace(query, sought=replace(query.sought, terms=replace(terms, value=value)))


def _speed(books: Books) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    documents = [_made(books, rng) for _ in range(50_000)]
    started = time.perf_counter()
    encoder = fit_svd(documents[:10_000])
    fitted_s = time.perf_counter() - started
    encoder.embed(documents[:100])
    figures: dict[str, Any] = {
        "chars_per_text": round(float(np.mean([len(document.whole) for document in documents[:1_000]]))),
        "fit_s_10000": round(fitted_s, 1),
        "encode_texts_per_s": _rate(lambda: encoder.encode([document.whole for document in documents[:ENCODED]])),
        "embed_texts_per_s": _rate(lambda: encoder.embed(documents[:ENCODED])),
    }
    asked = [question.text for some in questions(books, REPORTED, seed=1).values() for question in some]
    asked = [asked[at] for at in rng.choice(len(asked), SEARCHES, replace=False)]
    for n_items in (10_000, 50_000):
        figures[f"{n_items} items"] = _searching(encoder, documents[:n_items], asked)
    return figures


def _made(books: Books, rng: np.random.Generator) -> Document:
    """Return a book with a text of 300 characters, made of other books' titles."""
    row, others = int(rng.integers(len(books.titles))), rng.integers(len(books.titles), size=20)
    text = " ".join(books.titles[other] for other in others)[:TEXT_CHARS]
    return Document(books.titles[row], ", ".join(books.authors[row]), tuple(books.tags[row][:3]), text)


def _rate(encode: Callable[[], object]) -> int:
    started = time.perf_counter()
    encode()
    return round(ENCODED / (time.perf_counter() - started))


def _index(encoder: Encoder, documents: Sequence[Document]) -> TextIndex:
    seen = encoder.embed(documents)
    return TextIndex.build(seen.vectors, seen.terms)


def _searching(encoder: Encoder, documents: Sequence[Document], asked: Sequence[str]) -> dict[str, Any]:
    index = _index(encoder, documents)
    index.search(query_of(encoder, asked[0]), 10)
    query_ms, search_ms = [], []
    for text in asked:
        started = time.perf_counter()
        query = query_of(encoder, text)
        made = time.perf_counter()
        index.search(query, 10)
        query_ms.append(1000 * (made - started))
        search_ms.append(1000 * (time.perf_counter() - made))
    return {
        "bytes": sum(array.nbytes for array in index.arrays().values()),
        "query_ms": _quantiles(query_ms),
        "search_ms": _quantiles(search_ms),
    }


def _quantiles(taken_ms: Sequence[float]) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(taken_ms, share)), 2) for share in (50, 99)}
