"""The wire forms: what is taken, what is refused, and how a refusal reads."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import msgspec
import pytest

from features.contracts import event_problems
from features.contracts.event_problems import MAX_EVENT_BYTES, EventError
from features.contracts.events import (
    EVENT_TYPES,
    FREE_MEMBERS,
    Feedback,
    Impression,
    Interaction,
    Item,
    Json,
    User,
    decode_event,
    stamp_event,
)
from features.contracts.naming import MOST_NAMED
from features.contracts.nesting import MAX_DEPTH

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def wire(**changes: Any) -> bytes:
    form = {
        "type": "interaction",
        "schema_version": 1,
        "event_id": "e1",
        "occurred_at": "2026-01-01T00:00:00Z",
        "user_id": "u1",
        "item_id": "i1",
        "action": "view",
        "value": 1.0,
        "recommendation_id": None,
        "context": {},
    }
    return msgspec.json.encode({name: value for name, value in {**form, **changes}.items() if value != "absent"})


def refusal(raw: bytes) -> EventError:
    with pytest.raises(EventError) as caught:
        decode_event(raw)
    return caught.value


def test_an_interaction_is_read_as_the_design_writes_it() -> None:
    assert decode_event(wire()) == Interaction(
        event_id="e1",
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        schema_version=1,
        user_id="u1",
        item_id="i1",
        action="view",
        value=1.0,
    )


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (
            (
                b'{"type":"impression","schema_version":1,"event_id":"a","occurred_at":"2026-01-01T00:00:00Z",'
                b'"user_id":"u1","recommendation_id":"r","model_version":"7","experiment_id":null,"variant":null,'
                b'"policy":null,"context":{},"items":[{"item_id":"i1","position":1,"source":"als","score":0.9,'
                b'"propensity":null}]}'
            ),
            Impression,
        ),
        (
            (
                b'{"type":"item","schema_version":1,"event_id":"a","occurred_at":"2026-01-01T00:00:00Z","item_id":"i1",'
                b'"title":"T","text":"x","categories":["a"],"attributes":{},"hidden":false,"published_at":null,'
                b'"expires_at":null}'
            ),
            Item,
        ),
        (
            (
                b'{"type":"user","schema_version":1,"event_id":"a","occurred_at":"2026-01-01T00:00:00Z","user_id":"u1",'
                b'"attributes":{}}'
            ),
            User,
        ),
        (
            (
                b'{"type":"feedback","schema_version":1,"event_id":"a","occurred_at":"2026-01-01T00:00:00Z",'
                b'"recommendation_id":"r","user_id":null,"item_id":"i1","outcome":"clicked"}'
            ),
            Feedback,
        ),
    ],
)
def test_every_other_form_is_read_as_the_design_writes_it(raw: bytes, kind: type) -> None:
    assert type(decode_event(raw)) is kind


def test_whole_numbers_as_ids_become_decimal_text() -> None:
    event = decode_event(wire(user_id=7, item_id=12345678901234567890))

    assert isinstance(event, Interaction)
    assert (event.user_id, event.item_id) == ("7", "12345678901234567890")


def test_an_offset_is_turned_into_utc() -> None:
    event = decode_event(wire(occurred_at="2026-01-01T01:30:00+02:00"))

    assert event.occurred_at == datetime(2025, 12, 31, 23, 30, tzinfo=UTC)
    assert event.occurred_at.tzinfo is UTC


def test_only_a_search_has_no_item() -> None:
    search = decode_event(wire(action="search", item_id=None, context={"query": "film"}))
    assert isinstance(search, Interaction)
    assert search.context == {"query": "film"}

    assert refusal(wire(item_id=None)).problems[0][0] == "$"


def test_a_member_that_the_form_does_not_name_is_ignored() -> None:
    assert decode_event(wire(shard=3)) == decode_event(wire())


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"user_id": 1.5}, "user_id"),
        ({"user_id": 1.0}, "user_id"),
        ({"user_id": True}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "u" * 257}, "user_id"),
        ({"user_id": None}, "user_id"),
        ({"user_id": "absent"}, "user_id"),
        ({"item_id": ["i"]}, "item_id"),
        ({"event_id": ""}, "event_id"),
        ({"event_id": "e" * 65}, "event_id"),
        ({"event_id": 5}, "event_id"),
        ({"action": "View"}, "action"),
        ({"action": ""}, "action"),
        ({"action": "a" * 33}, "action"),
        ({"action": "view\n"}, "action"),
        ({"value": "1"}, "value"),
        ({"value": True}, "value"),
        ({"occurred_at": "2026-01-01T00:00:00"}, "occurred_at"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"occurred_at": 1_700_000_000}, "occurred_at"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "$"),
        ({"context": []}, "context"),
        ({"context": {"a": {"b": ["x\0y"]}}}, "context.a.b[0]"),
        ({"user_id": "\0"}, "user_id"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(changes: dict[str, Any], path: str) -> None:
    error = refusal(wire(**changes))

    assert error.code == "invalid_field"
    assert [where for where, _ in error.problems] == [path]


def test_every_wrong_field_is_named_at_once() -> None:
    raw = (
        b'{"type":"impression","schema_version":1,"event_id":"","user_id":"u","recommendation_id":"r",'
        b'"items":[{"item_id":true,"position":0},{"item_id":"i","position":1},7]}'
    )

    paths = [path for path, _ in refusal(raw).problems]

    assert paths == ["event_id", "occurred_at", "items[0].item_id", "items[0].position", "items[2]"]


def shown(*items: Any) -> bytes:
    """Return an impression of some items."""
    return wire(type="impression", recommendation_id="r", items=[*items])


@pytest.mark.parametrize(("wrong", "more"), [(20, ()), (21, (("$", "and 1 more"),)), (1000, (("$", "and 980 more"),))])
def test_of_many_wrong_fields_the_first_are_named_and_the_others_counted(wrong: int, more: tuple[Any, ...]) -> None:
    right = {"item_id": "i", "position": 1}
    error = refusal(shown(*[right] * (1000 - wrong), *[{"item_id": "i"}] * wrong))

    first = tuple((f"items[{place}].position", "missing") for place in range(1000 - wrong, 1000))[:MOST_NAMED]
    assert error.problems == (*first, *more)


def test_what_is_wrong_in_very_many_places_is_not_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []
    whole = event_problems._element_problems

    def counted(element: object, form: Any, path: str) -> Any:
        looked_at.append(path)
        return whole(element, form, path)

    monkeypatch.setattr(event_problems, "_element_problems", counted)
    error = refusal(shown(*[{}] * 1000))
    assert (error.code, looked_at) == ("invalid_field", [])
    assert error.problems[-1] == ("$", "and more than 1000 more")
    assert len(looked_at) < 600
    assert refusal(shown(*[{}] * 50_000)).problems == (("items", "Expected `array` of length <= 1000"),)


def test_a_path_is_no_longer_than_people_read() -> None:
    error = refusal(wire(context={"k" * 100_000: {"k": ["\0"] * 3000}}))

    assert (len(error.problems), error.problems[-1]) == (MOST_NAMED + 1, ("$", "and more than 1000 more"))
    assert len(str(error)) < 10_000


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b'{"user_id": "\\ud800"}', "not_json"),
        (wire().replace(b"1.0", b"1e999"), "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[]", "not_object"),
        (b"7", "not_object"),
        (wire(type="order"), "unknown_type"),
        (wire(type="absent"), "unknown_type"),
        (wire(type=["interaction"]), "unknown_type"),
        (wire(schema_version=2), "wrong_version"),
        (wire(schema_version="1"), "wrong_version"),
        (wire(schema_version="absent"), "wrong_version"),
        (wire(context={"text": "x" * MAX_EVENT_BYTES}), "too_large"),
    ],
)
def test_a_refusal_has_a_reason(raw: bytes, code: str) -> None:
    assert refusal(raw).code == code


def nested(levels: int) -> Any:
    """Return JSON of so many levels."""
    data: Any = 1
    for level in range(levels):
        data = [data] if level % 2 else {"a": data}
    return data


@pytest.mark.parametrize("changes", [{}, {"value": "1"}, {"recommendation_id": "\0"}])
def test_what_is_nested_so_deep_that_it_could_not_be_written_is_refused(changes: dict[str, Any]) -> None:
    error = refusal(wire(**changes, context={"a": nested(900)}))
    assert (error.code, error.problems) == ("invalid_field", (("$", "nested 902 levels deep; at most 32 are taken"),))


def test_depth_is_counted_of_the_whole_event_and_brackets_alone_are_no_depth() -> None:
    deepest = decode_event(wire(context={"a": nested(MAX_DEPTH - 2)}))
    assert isinstance(deepest, Interaction)
    assert refusal(wire(context={"a": nested(MAX_DEPTH - 1)})).problems[0][0] == "$"
    decode_event(wire(context={"query": "[{" * MAX_DEPTH, "ids": [[]] * MAX_DEPTH}))
    decode_event(wire(unknown=nested(MAX_DEPTH)))


def test_every_member_that_holds_any_json_is_looked_into() -> None:
    forms = [field for kind in EVENT_TYPES.values() for field in msgspec.structs.fields(kind)]
    free = {form.name for form in forms if form.type == Json or Json in get_args(form.type)}
    assert free == set(FREE_MEMBERS)


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    event = decode_event(wire(context={"path": "C:\\u0000"}))

    assert isinstance(event, Interaction)
    assert event.context == {"path": "C:\\u0000"}


def test_stamping_fills_in_what_is_missing_and_keeps_what_is_there() -> None:
    partial = {"user_id": "u1", "item_id": 5, "action": "like"}

    stamped = stamp_event(partial, now=NOW, event_id="made")
    kept = stamp_event({**partial, "event_id": "own", "occurred_at": "2025-01-01T00:00:00Z"}, now=NOW, event_id="made")

    assert (stamped.event_id, stamped.occurred_at, type(stamped)) == ("made", NOW, Interaction)
    assert (kept.event_id, kept.occurred_at.year) == ("own", 2025)


def test_stamping_refuses_like_decoding() -> None:
    with pytest.raises(EventError, match="user_id: missing"):
        stamp_event({"item_id": "i", "action": "view"}, now=NOW, event_id="e")


def test_instants_with_offsets_are_told_apart_only_by_the_instant() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    partial = {"user_id": "u", "item_id": "i", "action": "view"}

    assert stamp_event(partial, now=there, event_id="e") == stamp_event(partial, now=NOW, event_id="e")
