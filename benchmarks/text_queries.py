"""Questions to a catalogue of books, by kind, each with the books that answer it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.text.documents import Document, document_of

PER_KIND: Final = 200
TAGS: Final = 10
_NO_SUBJECT: Final = re.compile(
    r"read|\d{4}|own|favou?rite|book|shelf|list|^--|star|kindle|default|series|audio|library"
)
"""Tags that say what a reader did with a book, not what it is about."""
_SMALL: Final = frozenset("the a an of and in to for on with from at by".split())  # noqa: SIM905 - reads better so


@dataclass(frozen=True)
class Question:
    """A text and the rows that answer it."""

    text: str
    answers: frozenset[int]


@dataclass(frozen=True)
class Books:
    """A catalogue: titles, original titles (empty where unknown), authors and the ten most given tags."""

    titles: list[str]
    originals: list[str]
    authors: list[list[str]]
    tags: list[list[str]]

    def documents(self, *, originals: bool) -> list[Document]:
        """Return the books as published: half of each one's tags, drawn by lot, and the original title if asked."""
        rng = np.random.default_rng(5)
        return [
            document_of(
                title,
                None,
                (),
                {
                    "author": authors,
                    "tags": [tag.replace("-", " ") for tag in tags if rng.random() < 0.5],
                    "original_title": original if originals else "",
                },
            )
            for title, original, authors, tags in zip(self.titles, self.originals, self.authors, self.tags, strict=True)
        ]


def goodbooks(folder: Path) -> Books:
    """Return goodbooks' 10,000 books."""
    books = pd.read_parquet(folder / "goodbooks" / "books.parquet")
    given = pd.read_parquet(folder / "goodbooks" / "book_tags.parquet").merge(
        pd.read_parquet(folder / "goodbooks" / "tags.parquet")
    )
    given = given[~given.tag_name.str.contains(_NO_SUBJECT)]
    given = given.sort_values(["goodreads_book_id", "count", "tag_name"], ascending=[True, False, True])
    most = given.groupby("goodreads_book_id").tag_name.apply(lambda names: list(names[:TAGS])).to_dict()
    return Books(
        books.title.to_list(),
        books.original_title.fillna("").to_list(),
        books.authors.str.split(", ").to_list(),
        [most.get(book, []) for book in books.goodreads_book_id],
    )


def questions(books: Books, half: int, seed: int = 0) -> dict[str, list[Question]]:
    """Return up to `PER_KIND` questions of each kind about the even (0) or odd (1) books."""
    rng = np.random.default_rng(seed)
    ask = _Asker(books, rng)
    rows = [row for row in range(len(books.titles)) if row % 2 == half]
    several = [row for row in rows if len(ask.telling(row)) > 2]
    long = [row for row in rows if len(ask.titles[row]) > 5]
    authors = sorted({books.authors[row][0] for row in rows})
    other = [row for row in rows if ask.in_another_language(row)]
    tagged = [row for row in rows if len(books.tags[row]) > 2]

    def some(choices: Sequence[int]) -> list[int]:
        return [choices[at] for at in rng.choice(len(choices), min(PER_KIND, len(choices)), replace=False)]

    writers = [authors[at] for at in some(range(len(authors)))]
    return {
        "title": [ask.title(row) for row in some(rows)],
        "two words of a title": [ask.words(row, 2) for row in some(several)],
        "author": [Question(author, ask.by(author)) for author in writers],
        "surname of the author and a word of the title": [ask.author_and_word(row) for row in some(rows)],
        "two tags": [ask.two_tags(row) for row in some(tagged)],
        "title with a typing error": [ask.title(row, errors=1) for row in some(long)],
        "title with two typing errors": [ask.title(row, errors=2) for row in some(long)],
        "author with a typing error": [
            Question(misspelt(rng, author.lower(), 1), ask.by(author)) for author in writers
        ],
        "original title in another language": [Question(books.originals[row], frozenset({row})) for row in some(other)],
    }


class _Asker:
    """Asks about books; `titles` are those of the books, without series and subtitles."""

    def __init__(self, books: Books, rng: np.random.Generator) -> None:
        self._books, self._rng = books, rng
        self.titles = [_main(title) for title in books.titles]
        self._words = [frozenset(_split(title)) for title in books.titles]

    def title(self, row: int, errors: int = 0) -> Question:
        """Return a title without its series; all books of that title answer."""
        main = self.titles[row].lower()
        answers = frozenset(other for other, title in enumerate(self.titles) if title.lower() == main)
        return Question(misspelt(self._rng, main, errors) if errors else self.titles[row], answers)

    def words(self, row: int, count: int) -> Question:
        """Return words of a title in their order; all books that have them answer."""
        telling = self.telling(row)
        at = np.sort(self._rng.choice(len(telling), count, replace=False))
        return self._having([telling[place] for place in at], "")

    def author_and_word(self, row: int) -> Question:
        """Return the author's last name and a word of the title."""
        telling = self.telling(row) or _split(self.titles[row])
        return self._having([str(self._rng.choice(telling))], self._books.authors[row][0].split()[-1])

    def two_tags(self, row: int) -> Question:
        """Return two of a book's six first tags; all books that have both among their ten answer."""
        chosen = {str(tag) for tag in self._rng.choice(self._books.tags[row][:6], 2, replace=False)}
        answers = frozenset(other for other, tags in enumerate(self._books.tags) if chosen <= set(tags))
        return Question(" ".join(sorted(chosen)).replace("-", " "), answers)

    def by(self, author: str) -> frozenset[int]:
        """Return the books of an author."""
        return frozenset(row for row, authors in enumerate(self._books.authors) if author in authors)

    def telling(self, row: int) -> list[str]:
        """Return the words of a title, without its series, that are not small."""
        return [word for word in _split(self.titles[row]) if word not in _SMALL]

    def in_another_language(self, row: int) -> bool:
        """Tell whether the original title has words, and none of the title's."""
        original = set(_split(self._books.originals[row])) - _SMALL
        return bool(original) and not original & self._words[row]

    def _having(self, words: list[str], surname: str) -> Question:
        answers = frozenset(
            row
            for row, mine in enumerate(self._words)
            if mine.issuperset(words) and surname in " ".join(self._books.authors[row])
        )
        return Question(" ".join([surname, *words]).strip(), answers)


def misspelt(rng: np.random.Generator, text: str, errors: int) -> str:
    """Return a text with letters changed, left out, doubled up or swapped with the next."""
    letters = list(text)
    for _ in range(errors):
        places = [at for at, letter in enumerate(letters) if letter.isalpha()]
        if not places:
            break
        at, kind, other = int(rng.choice(places)), int(rng.integers(4)), chr(97 + int(rng.integers(26)))
        letters[at : at + 2] = _mistaken(letters[at : at + 2], kind, other)
    return "".join(letters)


def _mistaken(pair: list[str], kind: int, other: str) -> list[str]:
    return ([other, *pair[1:]], pair[1:], [other, *pair], pair[::-1])[kind]


def measures(found: Iterator[npt.NDArray[np.int32]], asked: Sequence[Question]) -> dict[str, float]:
    """Return recall@10 (of the answers that ten places can hold) and the mean reciprocal rank of the first answer."""
    recalls, ranks = [], []
    for rows, question in zip(found, asked, strict=True):
        hits = [place for place, row in enumerate(rows[:10].tolist(), start=1) if row in question.answers]
        recalls.append(len(hits) / min(10, len(question.answers)))
        ranks.append(1 / hits[0] if hits else 0.0)
    return {"recall@10": round(float(np.mean(recalls)), 3), "mrr": round(float(np.mean(ranks)), 3)}


def _main(title: str) -> str:
    return re.split(r"\s*[(:]", title)[0].strip() or title


def _split(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
