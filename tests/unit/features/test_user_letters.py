"""Letters that hold a user are found however their producer writes JSON."""

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.admin.user_letters import holds_user, needles

Encode = Callable[[str], str]

IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)


def php(text: str) -> str:
    """Return a text in JSON as PHP writes it."""
    return json.dumps(text).replace("/", "\\/")


def dotnet(text: str) -> str:
    """Return a text in JSON as .NET writes it: what HTML could read is escaped, in capitals."""
    return re.sub("[+<>&'`]", lambda found: f"\\u{ord(found[0]):04X}", json.dumps(text))


def all_escaped(text: str) -> str:
    """Return a text in JSON without any of its characters."""
    units = text.encode("utf-16-be").hex()
    return '"' + re.sub("....", r"\\u\g<0>", units) + '"'


@pytest.mark.parametrize("encode", [json.dumps, php, dotnet, all_escaped], ids=lambda encode: encode.__name__)
@given(user_id=IDS)
@example("a/b")
@example("a+b")
@example("Łukasz/+\U0001f600")
def test_a_letter_is_looked_at_and_found_however_its_producer_escapes(encode: Encode, user_id: str) -> None:
    whole = f'{{"user_id": {encode(user_id)}, "value": 1}}'.encode()
    broken = whole[:-3]
    assert any(needle in whole for needle in needles(user_id))
    assert holds_user(whole, user_id)
    if re.fullmatch(r"[\w-](.*[\w-])?", user_id, re.ASCII | re.DOTALL):  # of broken ones only words are found
        assert holds_user(broken, user_id)


def test_an_escaped_id_is_no_other_one() -> None:
    assert not holds_user(b'{"user_id": "a\\/bc", "val', "a/b")
    assert not holds_user(b'{"user_id": "a\\/bc"}', "a/b")


def test_letters_with_escapes_are_candidates_only_where_they_may_hold_the_id() -> None:
    assert b"\\/" not in needles("anna")
