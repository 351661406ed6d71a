"""Laws of the wire forms: writing and reading is identity, and no bytes whatever do more than raise `EventError`."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.event_problems import EventError
from features.contracts.events import (
    EVENT_TYPES,
    Event,
    Feedback,
    Impression,
    Interaction,
    Item,
    ShownItem,
    User,
    decode_event,
    encode_event,
)

# Postgres keeps every character of a text but U+0000; JSON has no lone surrogates.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
ids = texts.filter(bool)
words = st.from_regex(r"[a-z_]{1,32}", fullmatch=True)
instants = st.datetimes(timezones=st.just(UTC))
numbers = st.floats(allow_nan=False, allow_infinity=False)
plain_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, plain_json, max_size=4)
common: dict[str, Any] = {"event_id": ids, "occurred_at": instants, "schema_version": st.just(1)}
shown = st.builds(
    ShownItem,
    item_id=ids,
    position=st.integers(1, 10_000),
    source=st.none() | texts,
    score=st.none() | numbers,
    propensity=st.none() | numbers,
)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        Interaction,
        **common,
        user_id=ids,
        item_id=ids,
        action=words,
        value=st.none() | numbers,
        recommendation_id=st.none() | texts,
        context=objects,
    ),
    st.builds(
        Impression,
        **common,
        user_id=ids,
        recommendation_id=ids,
        items=st.lists(shown, max_size=4),
        model_version=st.none() | texts,
        context=objects,
    ),
    st.builds(
        Item,
        **common,
        item_id=ids,
        title=texts,
        text=texts,
        categories=st.lists(texts, max_size=4),
        attributes=objects,
        hidden=st.booleans(),
        published_at=st.none() | instants,
        expires_at=st.none() | instants,
    ),
    st.builds(User, **common, user_id=ids, attributes=objects),
    st.builds(
        Feedback, **common, recommendation_id=ids, outcome=words, user_id=st.none() | ids, item_id=st.none() | ids
    ),
)


@given(events)
def test_reading_what_was_written_gives_the_event(event: Event) -> None:
    assert decode_event(encode_event(event)) == event


@given(events)
def test_writing_what_was_read_gives_the_bytes(event: Event) -> None:
    raw = encode_event(event)

    assert encode_event(decode_event(raw)) == raw


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_an_event_error(raw: bytes) -> None:
    with suppress(EventError):
        decode_event(raw)


@given(events, st.data())
def test_one_broken_field_is_the_one_that_is_named(event: Event, data: st.DataObject) -> None:
    form = msgspec.json.decode(encode_event(event))
    fields = [name for name in form if name not in {"type", "schema_version"}]
    broken = data.draw(st.sampled_from(fields))
    form[broken] = {"type": "surprise"} if broken not in {"context", "attributes"} else ["surprise"]

    with pytest.raises(EventError) as caught:
        decode_event(msgspec.json.encode(form))
    assert (caught.value.code, [path for path, _ in caught.value.problems]) == ("invalid_field", [broken])


@given(st.sampled_from(sorted(EVENT_TYPES)), plain_json, st.dictionaries(texts, plain_json, max_size=6))
def test_any_fields_under_a_known_type_are_an_event_or_an_event_error(kind: str, version: object, fields: Any) -> None:
    with suppress(EventError):
        decode_event(msgspec.json.encode({**fields, "type": kind, "schema_version": version}))


def test_the_epoch_is_read_exactly() -> None:
    user = User(event_id="e", occurred_at=datetime(1970, 1, 1, tzinfo=UTC), schema_version=1, user_id="u")

    assert decode_event(encode_event(user)) == user
