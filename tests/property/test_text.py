"""Texts: anything encodes, quickly bounded and the same everywhere; search is what brute force finds."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.text.documents import Document, document_of
from features.text.encoder import EncoderError, query_of
from features.text.files import read_encoder
from features.text.folding import fold
from features.text.loops import END, N_WORDS
from features.text.search import HALVES, LEAST, LIKENESS, TextIndex
from features.text.svd import SvdEncoder, fit_svd
from features.text.terms import Terms, joined, places, plain_terms
from tests.support.encoder_files import write_encoder
from tests.support.library import library

POISON = {
    "nothing": "",
    "megabytes": "lorem ipsum " * 200_000,
    "one word a million times": "word " * 1_000_000,
    "one long word": "a" * 1_000_000,
    "lone surrogates": "\ud800\udfff \udc00abc\ud800",
    "combining marks": "e" + "\u0301\u0316" * 500_000,
    "marks alone": "\u0301" * 100_000,
    "NULs": "a\x00b\x00" * 1_000,
    "control characters": "".join(map(chr, range(32))) * 100,
    "emoji": "\U0001f600\u200d\U0001f468\ufe0f" * 1_000,
    "right to left": "\u202eמלחמה ושלום الحرب والسلام\u202c" * 100,
    "Chinese": "战争与和平" * 1_000,
    "all of Unicode": "".join(map(chr, range(0x110000))),
    "a character that becomes eighteen": "\ufdfa" * 10_000,
    "single letters": "a b " * 10_000,
}
anything = st.text(st.characters(codec=None), max_size=200)  # lone surrogates too
documents = st.builds(Document, anything, anything, st.lists(anything, max_size=3).map(tuple), anything)


@pytest.fixture(scope="module")
def encoder() -> SvdEncoder:
    return fit_svd(library(), dimension=16)


@pytest.fixture(scope="module")
def index(encoder: SvdEncoder) -> TextIndex:
    seen = encoder.embed(library())
    return TextIndex.build(seen.vectors, seen.terms)


@pytest.mark.parametrize("text", POISON.values(), ids=POISON.keys())
def test_poison_encodes_like_any_text(encoder: SvdEncoder, index: TextIndex, text: str) -> None:
    document = document_of(text, text, [text], {"author": text, "tags": [text]})
    seen = encoder.embed([document, Document(text=text)])
    norms = np.linalg.norm(np.vstack([seen.vectors, encoder.encode([text])]), axis=1)
    assert ((abs(norms - 1) < 1e-5) | (norms == 0)).all()
    assert ((seen.terms.value > 0) & (seen.terms.value < 1)).all()
    assert len(seen.terms.index) < 100_000
    poisoned = TextIndex.build(seen.vectors, seen.terms)
    assert poisoned.n_rows == 2
    for found in (index, poisoned):
        rows, scores = found.search(query_of(encoder, text), 10)
        assert np.isfinite(scores).all()
        assert len(rows) <= 10


@pytest.fixture(scope="module")
def written(encoder: SvdEncoder, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("encoders") / "one"
    return folder, write_encoder(encoder, folder)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_one_flipped_bit_anywhere_is_refused(written: tuple[Path, str], data: st.DataObject) -> None:
    folder, digest = written
    file = data.draw(st.sampled_from(sorted(folder.iterdir())))
    original = file.read_bytes()
    flipped = bytearray(original)
    flipped[data.draw(st.integers(0, len(original) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(flipped)
    try:
        with pytest.raises(EncoderError):
            read_encoder(folder, digest)
    finally:
        file.write_bytes(original)
    assert read_encoder(folder, digest).digest == digest


@given(text=anything)
def test_folding_ends_and_leaves_no_marks_of_fields(text: str) -> None:
    folded = fold(text)
    assert not set(folded) & set(map(chr, range(END + 1)))
    assert fold(folded) == folded
    assert fold(text.upper()).split() == fold(text.upper().lower()).split()
    folded.encode("utf-32")


@given(items=st.lists(documents, max_size=6))
@settings(deadline=None)
def test_every_document_stands_alone(encoder: SvdEncoder, items: list[Document]) -> None:
    together = encoder.embed(items)
    apart = [encoder.embed([document]) for document in items]
    np.testing.assert_array_equal(
        together.vectors, np.vstack([np.zeros((0, 16), np.float32), *(one.vectors for one in apart)])
    )
    terms = joined([one.terms for one in apart])
    np.testing.assert_array_equal(together.terms.index, terms.index)
    np.testing.assert_array_equal(together.terms.value, terms.value)


@given(text=anything)
def test_terms_ascend_whatever_the_text(text: str) -> None:
    terms = plain_terms([text, text])
    for row in range(2):
        assert (np.diff(terms.of(row).index) > 0).all()
    np.testing.assert_array_equal(terms.of(0).index, terms.of(1).index)


words = st.sampled_from("dragon swrod castle stock marekt bond the of 17 Ann Birch ann brich zebra".split())  # noqa: SIM905
queries = st.lists(words, min_size=1, max_size=5).map(" ".join)


@given(query=queries, k=st.integers(0, 250), seed=st.integers(0, 5))
@settings(deadline=None)
def test_search_is_brute_force(encoder: SvdEncoder, index: TextIndex, query: str, k: int, seed: int) -> None:
    eligible = np.random.default_rng(seed).random(index.n_rows) < seed / 5
    scores = brute_force(encoder, index, query)
    rows, found = index.search(query_of(encoder, query), k, eligible)
    np.testing.assert_allclose(found, scores[rows], atol=1e-5)
    assert eligible[rows].all()
    assert len(set(rows.tolist())) == len(rows) == min(k, int((eligible & (scores > LEAST)).sum()))
    assert (np.diff(found) <= 0).all()
    left_out = np.setdiff1d(np.flatnonzero(eligible), rows)
    if len(rows) and len(left_out):
        assert scores[left_out].max() <= found[-1] + 1e-5


def brute_force(encoder: SvdEncoder, index: TextIndex, query: str) -> np.ndarray:
    """Return every row's score by the words of the definition, in float64."""
    asked = query_of(encoder, query)
    scores = np.maximum(index.vectors.astype(np.float64) @ asked.vector, 0)
    seen = encoder.embed(library()).terms
    sought = asked.sought
    for row in range(index.n_rows):
        document = seen.of(row)
        weight = document.value.astype(np.float16).astype(np.float64)
        for word, worth in enumerate(sought.worth):
            terms = sought.terms.of(word)
            place = places(document.index, terms.index)
            match = np.where(place < 0, 0, weight[place]) * terms.value
            spelt, alike = match[terms.index < N_WORDS].sum(), match[terms.index >= N_WORDS].sum()
            scores[row] += worth * (max(spelt, LIKENESS[0] * alike**2) + LIKENESS[1] * alike)
    return scores


@given(query=queries, cut=st.integers(0, 200))
@settings(deadline=None)
def test_two_indexes_of_one_encoder_merge_by_score(encoder: SvdEncoder, index: TextIndex, query: str, cut: int) -> None:
    asked = query_of(encoder, query)
    rows, scores = index.search(asked, 10)
    merged: list[tuple[float, int]] = []
    for begin, lot in ((0, library()[:cut]), (cut, library()[cut:])):
        seen = encoder.embed(lot)
        found, theirs = TextIndex.build(seen.vectors, seen.terms).search(asked, 10)
        merged += zip((-theirs).tolist(), (found + begin).tolist(), strict=True)
    best = sorted(merged)[:10]
    assert [row for _, row in best] == rows.tolist()
    assert [-score for score, _ in best] == scores.tolist()


@given(seed=st.integers(0, 1_000), k=st.integers(1, 30))
@settings(deadline=None)
def test_nearest_is_brute_force(index: TextIndex, seed: int, k: int) -> None:
    vector = np.random.default_rng(seed).normal(size=16).astype(np.float32)
    vector /= np.linalg.norm(vector)
    rows, cosines = index.nearest(vector, k)
    exact = index.vectors.astype(np.float64) @ vector
    np.testing.assert_allclose(cosines, np.sort(exact[exact > 0])[::-1][:k], atol=1e-5)
    np.testing.assert_allclose(exact[rows], cosines, atol=1e-5)


def test_every_half_has_its_value() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    small = np.abs(halves) <= 1  # entries of vectors of length one; no NaN either
    for dimension in (1, 3, 16):
        vectors = np.zeros((int(small.sum()), dimension), np.float16)
        vectors[:, -1] = halves[small]
        nothing = Terms(np.zeros(len(vectors) + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
        index = TextIndex.build(vectors, nothing)
        unit = np.zeros(dimension, np.float32)
        unit[-1] = 1
        rows, cosines = index.nearest(unit, len(vectors))
        np.testing.assert_array_equal(cosines, vectors[rows, -1].astype(np.float32))
        assert len(rows) == int((halves[small] > 0).sum())
    np.testing.assert_array_equal(HALVES[np.flatnonzero(small)], halves[small].astype(np.float32))
