"""Mending the bytes of a dead letter."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.admin.letter_bytes import PathError, check_bytes, id_of_place, keep_event_id, set_members
from features.contracts.event_problems import EventError
from features.contracts.events import Interaction, encode_event
from features.contracts.mappings import load_mappings
from tests.support.landing import START, interaction

NOW = START + timedelta(days=1)


def test_members_are_set_by_path_wherever_they_lie() -> None:
    raw = b'{"user_id": 1, "context": {}, "items": [{"item_id": "a"}, {"item_id": ""}]}'
    mended = set_members(raw, {"context.query": "q", "items[1].item_id": "b", "user_id": "u"})
    assert json.loads(mended) == {
        "user_id": "u",
        "context": {"query": "q"},
        "items": [{"item_id": "a"}, {"item_id": "b"}],
    }


@pytest.mark.parametrize("path", ["items[2].item_id", "context.a.b", "user_id.x", "", "a..b", "[0]", "items[1]"])
def test_a_path_that_leads_nowhere_is_refused(path: str) -> None:
    with pytest.raises(PathError, match="path"):
        set_members(b'{"user_id": 1, "context": {}, "items": [{}]}', {path: 1})


def test_members_of_what_is_no_object_cannot_be_set() -> None:
    with pytest.raises(PathError, match="--raw"):
        set_members(b"{broken", {"a": 1})


def test_a_registry_header_goes_when_members_are_set() -> None:
    assert set_members(b'\x00\x00\x00\x00\x07{"a": 1}', {"a": 2}) == b'{"a":2}'


def test_the_original_id_is_kept_even_where_the_json_is_broken() -> None:
    broken = b'{"event_id": "e1", "user_id": '
    assert json.loads(keep_event_id(broken, b'{"user_id":"u"}', "f"))["event_id"] == "e1"
    assert keep_event_id(broken, b'{"event_id":"e1"}', "f") == b'{"event_id":"e1"}'
    with pytest.raises(EventError, match="expected the original's 'e1'"):
        keep_event_id(broken, b'{"event_id":"e2"}', "f")


def test_a_letter_without_an_id_takes_the_one_of_its_place() -> None:
    first, second = id_of_place("t", 0, 7, NOW), id_of_place("t", 0, 8, NOW)
    assert first != second
    assert json.loads(keep_event_id(b"?", b"{}", first))["event_id"] == first
    assert keep_event_id(b"?", b'{"event_id":"mine"}', first) == b'{"event_id":"mine"}'
    assert keep_event_id(b"?", b"no object", first) == b"no object"


@given(st.text(min_size=1, max_size=64))
def test_a_readable_id_is_kept_whatever_it_holds(event_id: str) -> None:
    raw = msgspec.json.encode({"event_id": event_id})
    assert json.loads(keep_event_id(raw, b"{}", "fallback"))["event_id"] == event_id


def test_an_event_of_an_absurd_time_is_refused_as_landing_does() -> None:
    event = interaction(1)
    assert check_bytes("t", encode_event(event), NOW, {}) == event
    with pytest.raises(EventError, match="far_future"):
        check_bytes("t", encode_event(event), datetime(2025, 12, 1, tzinfo=UTC), {})
    with pytest.raises(EventError, match="far_past"):
        check_bytes("t", encode_event(interaction(1, occurred_at="1969-12-31T00:00:00Z")), NOW, {})


def test_a_mapped_topic_has_a_decoder_of_its_own() -> None:
    mappings = load_mappings()
    message = {"user_id": 1, "video_id": 2, "rating": 4, "timestamp": "2026-01-01T00:00:00Z"}
    event = check_bytes("profile-service.video-rated", msgspec.json.encode(message), NOW, mappings)
    assert isinstance(event, Interaction)
    assert (event.user_id, event.action, event.value) == ("1", "rating", 4.0)
    with pytest.raises(EventError, match="video_id"):
        check_bytes("profile-service.video-rated", b'{"user_id": 1, "rating": 4, "timestamp": 0}', NOW, mappings)
