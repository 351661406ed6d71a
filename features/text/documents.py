"""What is said of an item in words: title, author, categories and text, bounded whatever was sent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

MAX_CHARS: Final = 8_000
"""Longest text of a document that is read: what comes after says little new, and a megabyte costs no more."""
MAX_TITLE: Final = 500
MAX_AUTHOR: Final = 500
MAX_CATEGORIES: Final = 50
MAX_CATEGORY: Final = 100
HEADING_CHARS: Final = 120
"""How much of a text without a title stands in for one."""

AUTHOR_ATTRIBUTES: Final = ("author", "authors")
TEXT_ATTRIBUTES: Final = ("original_title", "subtitle", "description", "keywords", "tags")
"""Attributes that are read as text, beside `text` itself."""


@dataclass(frozen=True, slots=True)
class Document:
    """What is said of an item in words; `document_of` makes one out of what was sent, within bounds."""

    title: str = ""
    author: str = ""
    categories: tuple[str, ...] = ()
    text: str = ""

    @property
    def whole(self) -> str:
        """Return everything as one text of at most `MAX_CHARS`, one field a line."""
        lines = (self.title, self.author, " | ".join(self.categories), self.text)
        return "\n".join(line for line in lines if line)[:MAX_CHARS]


def document_of(
    title: str | None, text: str | None, categories: Iterable[str] | None, attributes: Mapping[str, Any] | None
) -> Document:
    """Return the document of an item as the catalogue has it; never raises, whatever the attributes hold."""
    known = attributes or {}
    author = next((named for name in AUTHOR_ATTRIBUTES if (named := _words(known.get(name), MAX_AUTHOR))), "")
    labels = [_words(category, MAX_CATEGORY) for category in _first(categories or (), MAX_CATEGORIES)]
    parts = [_words(text, MAX_CHARS), *(_words(known.get(name), MAX_CHARS) for name in TEXT_ATTRIBUTES)]
    return Document(
        title=_words(title, MAX_TITLE),
        author=author,
        categories=tuple(label for label in labels if label),
        text="\n".join(part for part in parts if part)[:MAX_CHARS],
    )


def heading_of(text: str) -> tuple[str, str]:
    """Return the beginning of a text, up to the end of a word, and the rest of it."""
    if len(text) <= HEADING_CHARS:
        return text, ""
    cut = text.rfind(" ", HEADING_CHARS // 2, HEADING_CHARS)
    cut = HEADING_CHARS if cut < 0 else cut
    return text[:cut], text[cut:]


def _words(value: object, limit: int) -> str:
    """Return a value as text: strings and numbers as they are, lists of them joined by commas, the rest as nothing."""
    if isinstance(value, str):
        return value[:limit].strip()
    if isinstance(value, (list, tuple)):
        return ", ".join(_words(entry, limit) for entry in value[:MAX_CATEGORIES] if isinstance(entry, (str, int)))[
            :limit
        ]
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else ""


def _first(values: Iterable[str], limit: int) -> list[str]:
    return [value for value, _ in zip(values, range(limit), strict=False)]
