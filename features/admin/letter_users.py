"""Which users a dead letter names: by its key, by the values of its JSON, or by what is left of these where it broke.

Landing asks it of letters of whom it knows but digests of erased users, and an erasure of those that are kept.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import msgspec

from features.contracts.event_problems import UNREADABLE
from features.contracts.events import without_registry_header
from features.kafka import FEEDBACK, ITEMS

_NO_USER_KEY: Final = frozenset({ITEMS, FEEDBACK})
"""Topics whose messages travel under another key than a user's id."""
_NAMES_A_USER: Final = re.compile(r"(^|_)(user|profile|member|customer)(_?id)?$", re.IGNORECASE)
"""Members in which a number is a user's id; anywhere else it may be a rating or a place."""
_VALUE: Final = re.compile(
    r"""(?:"?(?P<name>\w+)"?\s*[:=]\s*)?(?:(?P<text>"(?:[^"\\]|\\.?)*+(?:"|\Z))|(?P<run>[^\s"{}\[\](),:;=&]+))""",
    re.DOTALL,
)
"""A text in quotes or a run of characters, with the name before it: what broken JSON, a form or a log line is made of.

A quote that nothing closes takes all that is left: looked at again from each quote in it, a long message would take for
ever.
"""
_WORD: Final = re.compile(r"[\w-]+")


def users_named(topic: str, key: bytes | None, raw: bytes) -> set[str]:
    """Return the user ids that a letter may name: what travels under a user's key, and each value that can be an id.

    A number, as text too, is one only where a member's name says so.

    >>> "42" in users_named("catalog_items", b"42", b'{"item_id": "42", "title": 1}')
    False
    >>> "42" in users_named("interaction_events", None, b'{"user_id": "42", "item_id": "7", "val')
    True
    """
    named = users_in(raw)
    if key and topic not in _NO_USER_KEY:
        with suppress(UnicodeDecodeError):
            named.add(key.decode())
    return named


def users_in(raw: bytes) -> set[str]:
    """Return the user ids that some bytes may name."""
    try:
        values = _values(msgspec.json.decode(without_registry_header(raw)))
    except UNREADABLE:
        values = _remains(raw.decode(errors="replace"))
    return {str(value) for name, value in values if _may_be_user(name, value)}


def is_json(raw: bytes) -> bool:
    """Return whether some bytes are JSON: then all that they hold is known."""
    try:
        msgspec.json.decode(without_registry_header(raw))
    except UNREADABLE:
        return False
    return True


def _values(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield each text and number that JSON holds, with the name of the member that it lies in, however deep."""
    waiting = [("", content)]
    while waiting:
        name, content = waiting.pop()
        if isinstance(content, dict):
            waiting.extend(content.items())
            yield from (("", key) for key in content)
        elif isinstance(content, list):
            waiting.extend((name, value) for value in content)
        else:
            yield name, content


def _remains(text: str) -> Iterator[tuple[str, str]]:
    """Yield the texts and words of what is no JSON, with the name before each."""
    for found in _VALUE.finditer(text):
        name, value = found["name"] or "", found["text"] or found["run"]
        yield "", name
        with suppress(msgspec.DecodeError):
            yield name, msgspec.json.decode(value.encode(), type=str) if found["text"] else value
        # Where a quote is missing, what seems to lie between two may be what lies beside them.
        yield from ((name, word) for word in _WORD.findall(value))


def _may_be_user(name: str, value: Any) -> bool:
    if isinstance(value, str):
        # A short number as text may be anything but where a user is named.
        return not value.isdecimal() or bool(_NAMES_A_USER.search(name))
    return type(value) is int and bool(_NAMES_A_USER.search(name))
