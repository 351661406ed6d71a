"""Documents of items, and texts folded: bounded, comparable, whatever was sent."""

import pytest

from features.text.documents import MAX_CATEGORIES, MAX_CHARS, MAX_TITLE, Document, document_of
from features.text.folding import fold


def test_a_document_takes_author_and_texts_from_attributes() -> None:
    document = document_of(
        "The Hobbit", "A hole in the ground.", ["Fantasy"], {"authors": ["J.R.R. Tolkien", "A. Lee"], "tags": ["quest"]}
    )
    assert document == Document("The Hobbit", "J.R.R. Tolkien, A. Lee", ("Fantasy",), "A hole in the ground.\nquest")
    assert document.whole == "The Hobbit\nJ.R.R. Tolkien, A. Lee\nFantasy\nA hole in the ground.\nquest"


def test_author_goes_before_authors() -> None:
    assert document_of("", "", [], {"authors": "B", "author": "A"}).author == "A"


@pytest.mark.parametrize("odd", [None, {}, {"x": 1}, 3.5, True, [None, {"a": 1}], [[["deep"]]], "", "  "])
def test_odd_attributes_never_raise(odd: object) -> None:
    document = document_of(None, None, None, {"author": odd, "tags": odd, "description": odd})
    assert document.title == ""
    assert isinstance(document.whole, str)


def test_a_megabyte_costs_no_more_than_the_limit() -> None:
    megabyte = "word " * 200_000
    document = document_of(megabyte, megabyte, [megabyte] * 1_000, {"author": megabyte, "tags": [megabyte] * 1_000})
    assert len(document.title) <= MAX_TITLE
    assert len(document.text) <= MAX_CHARS
    assert len(document.categories) == MAX_CATEGORIES
    assert len(document.whole) <= MAX_CHARS


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Les MISÉRABLES", "les miserables"),
        ("Straße, Łódź & Bjørn", "strasse  lodz   bjorn"),
        ("Philosopher\u2019s", "philosophers"),
        ("Анна Каренина", "anna karenina"),
        ("\u1f48δύσσεια", "odysseia"),  # noqa: RUF001 - Greek on purpose
        ("\uff26\uff55\uff4c\uff4c \ufb01ne", "full fine"),
        ("e\u0301\u0301\u0301t\u00e9", "ete"),
        ("a\x00b\ud800c\U0001f600d", "a b c d"),
        ("soft\u00adhyphen", "softhyphen"),
        ("村上春樹", "村上春樹"),
    ],
)
def test_folding(text: str, folded: str) -> None:
    assert fold(text) == folded
