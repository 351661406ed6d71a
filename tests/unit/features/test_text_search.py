"""Search: what is spelt right, wrong, or elsewhere; filters; arrays that others keep."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.contracts.errors import ContractError
from features.text.documents import Document
from features.text.encoder import query_of
from features.text.loops import add_matches, add_products, best_rows, count_terms, project, weigh_terms
from features.text.search import TextIndex
from features.text.svd import SvdEncoder, fit_svd
from features.text.warm import warm
from tests.support.library import library

BOOKS = [
    Document("The Hobbit", "J.R.R. Tolkien", ("Fantasy",), "A hobbit leaves his hole in the ground."),
    Document("War and Peace", "Leo Tolstoy", ("Classics",), "Война и мир"),
    Document("Anna Karenina", "Leo Tolstoy", ("Classics",)),
    Document("Kafka on the Shore", "Haruki Murakami", (), "海辺のカフカ"),
    Document("Les Misérables", "Victor Hugo", ("Classics",), "Paris, and the sewers of Paris"),
    Document("", "", (), "To be, or not to be, that is the question."),
]


@pytest.fixture(scope="module")
def encoder() -> SvdEncoder:
    return fit_svd([*BOOKS, *library()], dimension=16)


@pytest.fixture(scope="module")
def index(encoder: SvdEncoder) -> TextIndex:
    seen = encoder.embed([*BOOKS, *library()])
    return TextIndex.build(seen.vectors, seen.terms)


@pytest.mark.parametrize(
    ("query", "row"),
    [
        ("the hobbit", 0),
        ("hobit", 0),
        ("jrr tolkien", 0),
        ("tolkein", 0),
        ("hole in the ground", 0),
        ("tolstoy peace", 1),
        ("война и мир", 1),
        ("анна каренина", 2),
        ("海辺", 3),
        ("murakmai", 3),
        ("les miserables", 4),
        ("LES MISÉRABLES", 4),
        ("question", 5),
        ("qustion", 5),
    ],
)
def test_the_first_found(encoder: SvdEncoder, index: TextIndex, query: str, row: int) -> None:
    assert index.search(query_of(encoder, query), 3)[0][0] == row


@pytest.mark.parametrize("query", ["", "?!", "\U0001f600", "zzzzqqqq"])
def test_nothing_is_found_by_what_is_nowhere(encoder: SvdEncoder, index: TextIndex, query: str) -> None:
    rows, scores = index.search(query_of(encoder, query), 10)
    assert len(rows) == len(scores) == 0


def test_only_eligible_rows_are_found(encoder: SvdEncoder, index: TextIndex) -> None:
    eligible = np.ones(index.n_rows, bool)
    eligible[0] = False
    query = query_of(encoder, "hobbit")
    assert 0 in index.search(query, 10)[0]
    assert 0 not in index.search(query, 10, eligible)[0]
    assert 0 not in index.nearest(encoder.encode(["hobbit"])[0], 10, eligible)[0]


def test_arrays_make_the_index_again(encoder: SvdEncoder, index: TextIndex, tmp_path: Path) -> None:
    for name, array in index.arrays().items():
        np.save(tmp_path / f"{name}.npy", array)
    mapped = TextIndex.from_arrays({name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in index.arrays()})
    assert mapped.n_rows == index.n_rows
    query = query_of(encoder, "the dragon of castle")
    for mine, theirs in zip(index.search(query, 50), mapped.search(query, 50), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_an_empty_index_finds_nothing(encoder: SvdEncoder) -> None:
    seen = encoder.embed([])
    index = TextIndex.build(seen.vectors, seen.terms)
    assert index.n_rows == 0
    assert not len(index.search(query_of(encoder, "dragon"), 5)[0])


def test_a_document_without_words_is_kept_and_never_found(encoder: SvdEncoder) -> None:
    seen = encoder.embed([Document("\U0001f600"), BOOKS[0]])
    index = TextIndex.build(seen.vectors, seen.terms)
    assert index.search(query_of(encoder, "hobbit"), 5)[0].tolist() == [1]
    assert 0 not in index.nearest(encoder.encode(["hobbit"])[0], 5)[0]


def test_what_does_not_fit_is_refused(encoder: SvdEncoder, index: TextIndex) -> None:
    with pytest.raises(ContractError, match="1 vectors"):
        TextIndex.build(np.zeros((1, 16)), encoder.embed([]).terms)
    with pytest.raises(ContractError, match="16 dimensions"):
        index.nearest(np.ones(8, np.float32), 3)


def test_warming_up_compiles_all_that_a_search_needs(encoder: SvdEncoder, index: TextIndex) -> None:
    warm(encoder)
    loops: list[Any] = [add_matches, add_products, best_rows, count_terms, project, weigh_terms]
    before = [len(loop.signatures) for loop in loops]
    index.search(query_of(encoder, "hobbit"), 3, np.ones(index.n_rows, bool))
    index.nearest(encoder.encode_documents(BOOKS[:1])[0], 3)
    assert [len(loop.signatures) for loop in loops] == before
