"""Reading posted events: the forms of a body, stamps, ids by a key, times, refusals; the short way is the long one."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.events import Interaction, decode_event
from serving.fast_reading import fast_read
from serving.posted import MAX_EVENTS
from serving.posting import EVENTS
from serving.problems import ProblemError
from serving.reading import Posting, event_ids, events_of, random_id, read

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VIEW = {"user_id": "u", "item_id": 7, "action": "view"}


def posted(body: Any, key: str | None = "key") -> Posting:
    return read(msgspec.json.encode(body), EVENTS, key, NOW)


@pytest.mark.parametrize(("body", "count"), [(VIEW, 1), ([VIEW, VIEW], 2), ({"events": [VIEW]}, 1)])
def test_the_three_forms_of_a_body(body: Any, count: int) -> None:
    assert events_of(body, EVENTS) == [VIEW] * count


@pytest.mark.parametrize("body", [None, 7, "event", [], {"events": []}, [VIEW] * (MAX_EVENTS + 1)])
def test_other_bodies_are_refused(body: Any) -> None:
    with pytest.raises(ProblemError) as refused:
        events_of(body, EVENTS)
    assert refused.value.status == 422
    assert fast_read(msgspec.json.encode(body), None, NOW) is None


def test_missing_and_null_members_are_stamped() -> None:
    posting = posted({**VIEW, "occurred_at": None})
    [message], [event_id] = posting.messages, event_ids(1, "key")
    event = decode_event(message.value)
    assert isinstance(event, Interaction)
    assert (event.event_id, event.occurred_at, event.item_id) == (event_id, NOW, "7")
    assert (message.topic, message.key) == ("interaction_events", b"u")
    assert posting.results == [{"event_id": event_id, "status": "accepted"}]


def test_events_of_one_body_that_bring_no_time_keep_their_order() -> None:
    raw = msgspec.json.encode([VIEW] * MAX_EVENTS)
    for posting in (fast_read(raw, None, NOW), read(raw, EVENTS, None, NOW)):
        assert posting is not None
        times = [decode_event(message.value).occurred_at for message in posting.messages]
        assert times == [NOW + timedelta(microseconds=place) for place in range(MAX_EVENTS)]


@pytest.mark.parametrize(
    ("number", "taken"), [(10**255 - 1, True), (10**255, False), (10**400, False), (-(10**300), False)]
)
@pytest.mark.parametrize("name", ["user_id", "item_id"])
def test_a_number_as_id_that_could_not_be_read_again_as_text_is_refused(name: str, number: int, taken: bool) -> None:  # noqa: FBT001  # a parameter of the case
    raw = json.dumps({**VIEW, name: number}).encode()
    quick, posting = fast_read(raw, "key", NOW), read(raw, EVENTS, "key", NOW)
    assert (quick is not None) == taken
    assert posting.results[0]["status"] == ("accepted" if taken else "refused")
    for message in posting.messages:
        assert getattr(decode_event(message.value), name) == str(number)


def test_the_callers_own_id_wins() -> None:
    assert posted({**VIEW, "event_id": "own"}).results[0]["event_id"] == "own"


def test_a_refused_event_is_named_with_its_fields() -> None:
    posting = posted([{"user_id": True, "item_id": "", "action": "No"}, [], VIEW])
    first, second, third = posting.results
    assert (first["status"], first["code"]) == ("refused", "invalid_field")
    assert {error["path"] for error in first["errors"]} == {"user_id", "item_id", "action"}
    assert second["code"] == "not_object"
    assert third["status"] == "accepted"
    assert (len(posting.messages), posting.refused) == (1, ["invalid_field", "not_object"])


@pytest.mark.parametrize(
    ("occurred_at", "code"),
    [
        (NOW + timedelta(days=1), None),
        (NOW + timedelta(days=1, seconds=1), "far_future"),
        (datetime(9999, 12, 31, tzinfo=UTC), "far_future"),
        (datetime(1970, 1, 1, tzinfo=UTC), None),
        (datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), "far_past"),
        (datetime(1, 1, 1, tzinfo=UTC), "far_past"),
    ],
)
def test_absurd_times_are_refused_at_the_door(occurred_at: datetime, code: str | None) -> None:
    body = {**VIEW, "occurred_at": occurred_at}
    posting = posted(body)
    assert posting.results[0].get("code") == code
    assert (fast_read(msgspec.json.encode(body), "key", NOW) is None) == (code is not None)


def test_a_key_gives_the_same_ids_again() -> None:
    key = uuid.uuid4()
    assert event_ids(2, str(key)) == [str(uuid.uuid5(key, "0")), str(uuid.uuid5(key, "1"))]
    assert event_ids(3, "any text") == event_ids(3, "any text")
    assert event_ids(1, "any text") != event_ids(1, "other text")
    assert event_ids(1, None) != event_ids(1, None)


def test_random_ids_are_uuids_and_differ() -> None:
    ids = [random_id() for _ in range(1_000)]
    assert len(set(ids)) == 1_000
    assert {(uuid.UUID(one).version, uuid.UUID(one).variant) for one in ids} == {(4, uuid.RFC_4122)}
    assert all(str(uuid.UUID(one)) == one for one in ids)


odd = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just({"a": [1]})
members = st.fixed_dictionaries(
    {},
    optional={
        "user_id": odd | st.text(min_size=1, max_size=3),
        "item_id": odd | st.text(min_size=1, max_size=3),
        "action": st.sampled_from(["view", "search", "rating", "No", ""]) | odd,
        "value": odd,
        "event_id": odd,
        "occurred_at": odd | st.sampled_from(["2025-06-01T00:00:00+02:00", "2030-01-01T00:00:00Z", "2025-06-01"]),
        "schema_version": st.sampled_from([1, 2, None, "1"]),
        "type": st.sampled_from(["interaction", "feedback", "nonsense", None, 1]),
        "recommendation_id": odd,
        "context": odd | st.dictionaries(st.text(max_size=3), odd, max_size=2),
        "further": odd,
    },
)
events = st.fixed_dictionaries({"user_id": st.text(min_size=1), "item_id": st.integers(), "action": st.just("view")})
objects = members | st.builds(lambda right, more: {**right, **more}, events, members)


arrays = st.lists(objects, max_size=3)


@given(st.one_of(objects, arrays, st.fixed_dictionaries({"events": arrays})))
def test_the_short_way_gives_what_the_long_way_gives_or_nothing(body: Any) -> None:
    raw = msgspec.json.encode(body)
    short = fast_read(raw, "key", NOW)
    if short is None:
        return
    long = read(raw, EVENTS, "key", NOW)
    assert short.results == long.results
    assert long.refused == short.refused == []
    for mine, its in zip(short.messages, long.messages, strict=True):
        assert (mine.topic, mine.key) == (its.topic, its.key)
        assert decode_event(mine.value) == decode_event(its.value)


@pytest.mark.parametrize("body", [VIEW, [VIEW], {"events": [{**VIEW, "context": {"a": {"b": 1}}}] * 3}])
def test_what_is_right_takes_the_short_way(body: Any) -> None:
    assert fast_read(msgspec.json.encode(body), None, NOW) is not None
