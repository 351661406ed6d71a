"""Texts as they are compared: without case, accents and punctuation, in Latin letters where that is customary."""

import unicodedata
from typing import Final

_SPACE: Final = " "
_JOINED: Final = frozenset("'\u2019\u02bc`\u00b4\uff07")
"""Apostrophes: "sorcerer's" and "sorcerers" are one word."""
_CYRILLIC: Final = "a b v g d e zh z i y k l m n o p r s t u f kh ts ch sh shch _ y _ e yu ya"
_MORE_CYRILLIC: Final = "i i e g u j lj nj c dz dj dz"
_GREEK: Final = "a v g d e z i th i k l m n x o p r s t y f ch ps o"
_LATIN: Final = {
    # Letters that Unicode does not take apart.
    **dict(zip("æœøłđðþıħŋə", ["ae", "oe", "o", "l", "d", "d", "th", "i", "h", "ng", "e"], strict=True)),
    # Cyrillic and Greek names are searched for in either script.
    **dict(zip("абвгдежзийклмнопрстуфхцчшщъыьэюя", _CYRILLIC.split(), strict=True)),
    **dict(zip("іїєґўјљњћџђѕ", _MORE_CYRILLIC.split(), strict=True)),
    **dict(zip("αβγδεζηθικλμνξοπρστυφχψω", _GREEK.split(), strict=True)),
}


class _Folding(dict[int, str]):
    """What becomes of each character, found out when it is first met (`str.translate` asks)."""

    def __missing__(self, code: int) -> str:
        """Return what becomes of a character, and keep it: there are no more of them than Unicode has."""
        folded = _folded(chr(code))
        self[code] = folded
        return folded


_folding: Final = _Folding()


def fold(text: str) -> str:
    """Return a text in small letters and digits with single characters of space for everything else.

    Character by character, so that odd runs (thousands of accents upon one letter) cost no more than others; the
    result is that of case folding and Unicode's NFKD without marks. Never raises: lone surrogates are space.
    """
    return text.translate(_folding)


def _folded(character: str) -> str:
    if character in _JOINED:
        return ""
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(_kept(part) for part in parts)


def _kept(part: str) -> str:
    category = unicodedata.category(part)
    if unicodedata.combining(part) or category == "Cf" or "\ufe00" <= part <= "\ufe0f":
        return ""
    if category[0] in "LNM":
        return _LATIN.get(part, part).replace("_", "")
    return _SPACE
