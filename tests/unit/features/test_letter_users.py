"""Which users a letter names is told from the letter alone, without knowing whom to look for."""

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.admin.letter_users import users_in, users_named
from features.kafka import FEEDBACK, INTERACTIONS, ITEMS, USERS

IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)


@given(user_id=IDS)
def test_the_user_of_a_message_is_found_whole_or_broken(user_id: str) -> None:
    whole = json.dumps({"user_id": user_id, "value": 1}).encode()
    assert user_id in users_in(whole)
    assert user_id in users_in(whole[:-3])
    assert user_id in users_in(b"\0\0\0\0\7" + whole)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"user_id":"42","item_id":"7","act',
        b'{"user_id": 42, "item_id": 7, "act',
        b'er_id":"i1","user_id":"42"}',
        b"user=42&item=7",
        b"2026-01-01 profile_id: 42, item: 7",
        b'{"title": "unclosed, "user_id": "42"}',
        b'\xff{"user_id": "42"}',
    ],
)
def test_a_number_is_a_user_where_bytes_say_so(raw: bytes) -> None:
    assert "42" in users_in(raw)
    assert "7" not in users_in(raw)


@pytest.mark.parametrize("topic", [ITEMS, FEEDBACK])
def test_a_key_that_is_no_users_names_nobody(topic: str) -> None:
    assert "42" not in users_named(topic, b"42", b'{"item_id": "42", "title": 1}')
    assert "42" not in users_named(topic, b"42", b'{"item_id": "42", "tit')


@pytest.mark.parametrize("topic", [INTERACTIONS, USERS, "of.another.service"])
def test_the_key_of_other_topics_is_a_users(topic: str) -> None:
    assert "42" in users_named(topic, b"42", b"")
    assert not users_named(topic, b"\xff", b"")
    assert not users_named(topic, None, b"")


def test_json_is_looked_through_however_deep_it_is() -> None:
    deep = 400
    assert "anna" in users_in(b'{"a":[' * deep + b'"anna"' + b"]}" * deep)


@pytest.mark.parametrize("junk", [b'\\"', b'"', b"a:", b'"a":', b"a ", b'"\\'])
def test_a_long_message_of_junk_takes_no_time(junk: bytes) -> None:
    begun = time.process_time()
    users_in(b'"' + junk * 200_000)
    assert time.process_time() - begun < 10  # a few tenths of a second; what looks again from each quote takes hours


def test_words_of_broken_bytes_are_those_of_the_message() -> None:
    broken = b'{"by": "anna-maria", "note": "for berta, or'
    assert {"anna-maria", "berta"} <= users_in(broken)
    assert not {name for name in users_in(broken) if re.fullmatch("anna|maria|bert", name)}
