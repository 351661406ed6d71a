"""Terms: words, runs of letters, categories, years; the same for a text wherever it stands."""

import numpy as np
import pytest

from features.text.documents import Document
from features.text.loops import N_WORDS
from features.text.terms import Terms, joined, places, plain_terms, query_terms, terms_of


def words(terms: Terms) -> set[int]:
    return {int(term) for term in terms.index if term < N_WORDS}


def grams(terms: Terms) -> set[int]:
    return {int(term) for term in terms.index if term >= N_WORDS}


def test_fields_weigh_differently_and_count_together() -> None:
    terms = terms_of([Document(title="ring", text="ring ring")])
    assert words(terms) == words(plain_terms(["ring"]))
    at = np.flatnonzero(terms.index < N_WORDS)
    assert terms.value[at].tolist() == [7.0]  # 3 for the title, 2 for each in the text


def test_only_titles_and_names_have_runs_of_letters() -> None:
    assert not grams(terms_of([Document(title="a title", text="wonder")])) & grams(plain_terms(["wonder"]))
    assert grams(terms_of([Document(author="Rowling")])) == grams(plain_terms(["rowling"]))


def test_the_beginning_of_a_text_without_a_title_stands_in_for_it() -> None:
    assert grams(terms_of([Document(text="wonder")])) == grams(plain_terms(["wonder"]))
    long = terms_of([Document(text="wonder " * 100 + "curious")])
    assert words(long) == words(plain_terms(["wonder curious"]))
    assert not grams(long) >= grams(plain_terms(["curious"]))


def test_a_category_is_a_term_of_its_own_beside_its_words() -> None:
    whole = words(terms_of([Document(categories=("Science Fiction",))]))
    apart = words(terms_of([Document(categories=("Science", "Fiction"))]))
    plain = words(plain_terms(["science fiction"]))
    assert plain < whole
    assert plain < apart
    assert (whole - plain).isdisjoint(apart - plain)


def test_initials_are_a_word_too() -> None:
    assert words(plain_terms(["jrr"])) < words(terms_of([Document(author="J. R. R. Tolkien")]))
    assert words(plain_terms(["jk"])) < words(terms_of([Document(author="Rowling J.K.")]))


def test_years_of_one_decade_have_a_term_in_common() -> None:
    def of(title: str) -> set[int]:
        return words(terms_of([Document(title=title)]))

    assert len(of("1995") & of("1998")) == 2  # half of the decade, and the decade
    assert len(of("1995") & of("1991")) == 1
    assert not of("1995") & of("2005")
    assert not of("3995") & of("3998")


@pytest.mark.parametrize("text", ["海辺のカフカ", "สวัสดีชาวโลก", "孫子兵法"])
def test_scripts_without_spaces_have_terms_within(text: str) -> None:
    assert words(plain_terms([text])) & words(plain_terms([text[1:]]))


def test_terms_do_not_depend_on_the_lot() -> None:
    documents = [Document("Title " + "x" * n, "Author", ("a b",), "text " * n) for n in range(300)]
    alone = joined([terms_of([document]) for document in documents])
    together = terms_of(documents)
    for name in ("offsets", "index", "value"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(together, name))
    np.testing.assert_array_equal(together.of(7).index, terms_of(documents[7:8]).index)


def test_large_lots_are_cut_and_joined() -> None:
    documents = [Document(text=f"number{n} " * 1_000) for n in range(300)]
    assert len(terms_of(documents)) == 300
    np.testing.assert_array_equal(terms_of(documents).of(299).index, terms_of(documents[299:]).index)


def test_terms_ascend_and_stand_once() -> None:
    terms = terms_of([Document("b a b a c", "b", ("a",), "c c c")])
    assert (np.diff(terms.index) > 0).all()


def test_nothing_has_no_terms() -> None:
    assert len(terms_of([])) == 0
    assert terms_of([Document(), Document("?!", "\U0001f600", ("--",), "\n")]).offsets.tolist() == [0, 0, 0]


def test_a_query_has_a_row_for_each_different_word() -> None:
    assert len(query_terms("New York, new YORK!")) == 2
    assert len(query_terms("  ")) == 0
    assert len(query_terms("word " * 1_000_000)) == 1


def test_places() -> None:
    known = np.array([2, 5, 9], np.int32)
    assert places(known, np.array([9, 1, 5, 10], np.int32)).tolist() == [2, -1, 1, -1]
    assert places(known[:0], known).tolist() == [-1, -1, -1]
