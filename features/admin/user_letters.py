"""Which dead letters hold a user: bytes that could not be read may hold them in any form."""

import re
import struct
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

import msgspec

from features.admin.letter_users import is_json, users_in, users_named
from features.db.connection import Connection
from features.db.queries import queries
from features.kafka import FEEDBACK

LETTERS_AT_ONCE: Final = 500


def letters_of(
    connection: Connection, user_id: str, recommendation_ids: Collection[str], span: tuple[datetime, datetime]
) -> list[int]:
    """Return the ids of dead letters that hold a user, in the transaction under way.

    Parameters
    ----------
    connection
        In a transaction.
    user_id
        Whom they hold: as their key or as a value in their bytes.
    recommendation_ids
        Lists that were shown to the user: feedback travels under these.
    span
        Landed or fixed in [since, until), aware.
    """
    keys = [user_id.encode(), *(shown.encode() for shown in recommendation_ids)]
    since, until = span
    chosen = {"keys": keys, "needles": needles(user_id), "since": since, "until": until, "at_most": LETTERS_AT_ONCE}
    found: list[int] = []
    after_id = 0
    while rows := list(queries.letters_that_may_hold(connection, **chosen, after_id=after_id)):
        after_id = rows[-1][0]
        found += [row[0] for row in rows if _holds(row[1:], user_id, keys)]
    return found


def holds_user(raw: bytes, user_id: str) -> bool:
    r"""Return whether some bytes hold a user's id: as a text of their JSON, or as a word where they are none.

    >>> holds_user(b'{"user_id": 7, "value": 8}', "7"), holds_user(b'{"user_id": 7, "value": 8}', "8")
    (True, False)
    >>> holds_user(b'{"user_id": "anna", "val', "anna"), holds_user(b'{"user_id": "annabel", "val', "anna")
    (True, False)
    >>> holds_user(b'{"user_id": "a\\u002Fb", "val', "a/b"), holds_user(b'{"user_id": "a\\/b", "val', "a/b")
    (True, True)
    """
    return user_id in users_in(raw) or _is_word_of(raw, user_id)


def _holds(letter: tuple[Any, ...], user_id: str, keys: Collection[bytes]) -> bool:
    topic, key, raw, fixed_raw = letter
    if topic == FEEDBACK and key in keys:
        return True
    if user_id in users_named(topic, key, raw) or _is_word_of(raw, user_id):
        return True
    return fixed_raw is not None and holds_user(fixed_raw, user_id)


def _is_word_of(raw: bytes, user_id: str) -> bool:
    """Return whether bytes that are no JSON hold an id as a word: who looks for one misses no form of it."""
    return not is_json(raw) and _word(user_id).search(raw) is not None


def needles(user_id: str) -> list[bytes]:
    """Return byte strings one of which is in every letter that holds an id: where one is, the letter may hold it.

    They are the id as JSON may hold it, its characters beyond ASCII escaped in either case; and the beginnings of
    escapes that no character needs, as PHP makes them of "/" and .NET of "+".
    """
    inside = msgspec.json.encode(user_id)[1:-1].decode()
    forms = [user_id, inside, _ascii(inside, "04x"), _ascii(inside, "04X"), "\\u00"]
    forms += ["\\/"] if "/" in user_id else []
    return [form.encode() for form in dict.fromkeys(forms)]


def _ascii(text: str, hexadecimal: str) -> str:
    return "".join(character if character.isascii() else _escaped(character, hexadecimal) for character in text)


def _escaped(character: str, hexadecimal: str) -> str:
    return "".join(f"\\u{unit:{hexadecimal}}" for (unit,) in struct.iter_unpack(">H", character.encode("utf-16-be")))


def _word(user_id: str) -> re.Pattern[bytes]:
    """Return what finds an id as a word, each of its characters as it is or escaped."""
    return re.compile(rb"(?<![\w-])" + b"".join(map(_written, user_id)) + rb"(?![\w-])")


def _written(character: str) -> bytes:
    short = {character.encode(), msgspec.json.encode(character)[1:-1], *([b"\\/"] if character == "/" else [])}
    long = _escaped(character, "04x").encode()
    return b"(?:" + b"|".join(map(re.escape, sorted(short))) + b"|(?i:" + re.escape(long) + b"))"
