"""Messages of other services become events as a file says; what is wrong is named as the producer names it."""

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from features.cli.app import app
from features.contracts.event_problems import EventError
from features.contracts.events import Interaction, Item, decode_event, encode_event
from features.contracts.mapping_form import MappingError
from features.contracts.mappings import TopicMapping, load_mappings

WATCHED = "analytics-service.video-watched"
RATED = "profile-service.video-rated"
WATCHLIST = "profile-service.watchlist-updated"
AT = datetime(2026, 1, 1, tzinfo=UTC)
MESSAGES: dict[str, dict[str, Any]] = {
    WATCHED: {
        "user_id": "u",
        "video_id": "v",
        "watched_duration": 30,
        "total_duration": 120,
        "timestamp": "2026-01-01T00:00:00Z",
        "device": "tv",
    },
    RATED: {"user_id": 7, "video_id": 9, "rating": 4.5, "timestamp": 1_767_225_600},
    WATCHLIST: {"user_id": "u", "video_id": "v", "action": "added", "timestamp": 1_767_225_600_000},
}


def shipped(topic: str, **changes: Any) -> Interaction:
    event = load_mappings()[topic].decode(json.dumps({**MESSAGES[topic], **changes}).encode())
    assert isinstance(event, Interaction)
    return event


def told(event: Interaction) -> tuple[Any, ...]:
    return event.user_id, event.item_id, event.action, event.value, event.occurred_at, event.context


def test_shipped_mappings_give_the_interactions_that_the_messages_mean() -> None:
    assert told(shipped(WATCHED)) == ("u", "v", "watch", 0.25, AT, {"device": "tv"})
    assert told(shipped(RATED)) == ("7", "9", "rating", 4.5, AT, {})
    assert told(shipped(WATCHLIST)) == ("u", "v", "favorite", 1.0, AT, {})
    assert told(shipped(WATCHLIST, action="removed")) == ("u", "v", "favorite", -1.0, AT, {})


@pytest.mark.parametrize("topic", MESSAGES)
def test_what_a_mapping_makes_is_an_event_on_the_wire(topic: str) -> None:
    event = shipped(topic)
    assert decode_event(encode_event(event)) == event
    assert str(uuid.UUID(event.event_id)) == event.event_id
    assert uuid.UUID(event.event_id).version == 5


@pytest.mark.parametrize(
    "again",
    [
        {},
        {"timestamp": "2026-01-01T01:00:00+01:00"},
        {"timestamp": 1_767_225_600},
        {"timestamp": 1_767_225_600_000.0},
        {"watched_duration": 30.0},
        {"device": "phone"},
        {"unknown": [1, 2]},
    ],
)
def test_the_same_message_has_the_same_id_however_it_is_spelt(again: dict[str, Any]) -> None:
    assert shipped(WATCHED, **again).event_id == shipped(WATCHED).event_id


@pytest.mark.parametrize(
    "other",
    [{"user_id": "w"}, {"video_id": "w"}, {"watched_duration": 31}, {"timestamp": 1_767_225_601}, {"user_id": "u\\"}],
)
def test_another_message_has_another_id(other: dict[str, Any]) -> None:
    assert shipped(WATCHED, **other).event_id != shipped(WATCHED).event_id


def test_ids_differ_between_topics_and_never_change() -> None:
    common = {"user_id": "u", "video_id": "v", "rating": "added", "action": "added", "timestamp": 0}
    assert shipped(WATCHLIST, timestamp=0).event_id != shipped(RATED, **(common | {"rating": 1})).event_id
    assert shipped(WATCHED).event_id == "617c6127-c9bc-5101-bdcd-cbb5dc5a0618"


def test_a_watch_beyond_the_end_counts_as_whole() -> None:
    assert shipped(WATCHED, watched_duration=500).value == 1.0


def test_the_header_of_a_schema_registry_is_no_part_of_the_message() -> None:
    mapping = load_mappings()[RATED]
    raw = json.dumps(MESSAGES[RATED]).encode()
    assert mapping.decode(b"\x00\x00\x00\x00\x2a" + raw) == mapping.decode(raw)


@pytest.mark.parametrize(
    ("topic", "raw", "code", "problem"),
    [
        (RATED, b"{", "not_json", ("$", "Input data was truncated")),
        (RATED, b"\xff\xfe", "not_json", ("$", "invalid")),
        (RATED, b"", "not_json", ("$", "")),
        (RATED, b"[]", "not_object", ("$", "a JSON list")),
        (RATED, b'"' + b"x" * 300_000 + b'"', "too_large", ("$", "300002 bytes")),
        (RATED, {"rating": "good"}, "invalid_field", ("rating", "Expected `float`, got `str`")),
        (RATED, {"rating": None}, "invalid_field", ("rating", "got `null`")),
        (RATED, {"user_id": 1.5}, "invalid_field", ("user_id", "got `float`")),
        (RATED, {"video_id": ""}, "invalid_field", ("video_id", "length >= 1")),
        (RATED, {"video_id": "a\0b"}, "invalid_field", ("video_id", "U+0000")),
        (RATED, {"timestamp": "yesterday"}, "invalid_field", ("timestamp", "RFC3339")),
        (RATED, {"timestamp": "2026-01-01T00:00:00"}, "invalid_field", ("timestamp", "timezone")),
        (RATED, {"timestamp": 1e30}, "invalid_field", ("timestamp", "outside the years")),
        (RATED, {"timestamp": True}, "invalid_field", ("timestamp", "got `bool`")),
        (WATCHED, {"total_duration": 0}, "invalid_field", ("total_duration", "> 0")),
        (WATCHED, {"watched_duration": -1}, "invalid_field", ("watched_duration", ">= 0")),
        (WATCHLIST, {"action": "cleared"}, "invalid_field", ("action", "'cleared'")),
    ],
)
def test_a_wrong_message_is_refused_with_reason_and_the_producers_field(
    topic: str, raw: bytes | dict[str, Any], code: str, problem: tuple[str, str]
) -> None:
    sent = raw if isinstance(raw, bytes) else json.dumps({**MESSAGES[topic], **raw}).encode()
    with pytest.raises(EventError) as caught:
        load_mappings()[topic].decode(sent)
    assert caught.value.code == code
    [(path, message)] = caught.value.problems
    assert path == problem[0]
    assert problem[1] in message


@pytest.mark.parametrize("other", [{}, {"user_id": None}])
def test_a_message_nested_so_deep_that_its_event_could_not_be_written_is_refused(other: dict[str, Any]) -> None:
    sent = json.dumps({**MESSAGES[WATCHED], **other, "device": "deep"}).replace('"deep"', "[" * 900 + "]" * 900)
    with pytest.raises(EventError, match=r"nested 90\d levels deep; at most 32"):
        load_mappings()[WATCHED].decode(sent.encode())


def test_all_wrong_fields_of_a_message_are_named() -> None:
    with pytest.raises(EventError) as caught:
        load_mappings()[WATCHED].decode(b'{"user_id":true,"watched_duration":"1","total_duration":2}')
    assert [path for path, _ in caught.value.problems] == ["user_id", "video_id", "watched_duration", "timestamp"]


ITEM = """
topics:
  catalog.changed:
    event: item
    event_id: meta.id
    members:
      item_id: payload.id
      partial: {constant: true}
      title: {field: payload.title, optional: true}
      hidden: {field: payload.state, choices: {live: false, gone: true}}
      occurred_at: {field: meta.at-ms, time: epoch_ms}
      expires_at: {field: payload.until, optional: true}
      attributes: {object: {year: payload.year, studio: payload.studio.name}}
"""


def mapping_of(folder: Path, text: str) -> dict[str, TopicMapping]:
    file = folder / "mappings.yaml"
    file.write_text(text, encoding="utf-8")
    return dict(load_mappings(file))


def test_fields_lie_inside_objects_and_may_be_absent(tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, ITEM)["catalog.changed"]
    least: dict[str, Any] = {"meta": {"id": 5, "at-ms": 1_000}, "payload": {"id": "i", "state": "gone"}}
    event = mapping.decode(json.dumps(least).encode())
    assert event == Item(
        event_id="5",
        schema_version=1,
        item_id="i",
        partial=True,
        hidden=True,
        attributes={},
        occurred_at=datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
    )
    more = {"title": None, "year": 1999, "studio": {"name": "x"}, "until": "2026-01-01T00:00:00Z"}
    event = mapping.decode(json.dumps({**least, "payload": {**least["payload"], **more}}).encode())
    assert isinstance(event, Item)
    assert (event.attributes, event.expires_at) == ({"year": 1999, "studio": "x"}, AT)
    with pytest.raises(EventError, match=r"payload\.id: missing; payload\.state: .*; meta: missing") as caught:
        mapping.decode(b'{"payload":{"state":"on"}}')
    assert caught.value.code == "invalid_field"


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        ("topics:", "topic:", "unknown field `topic`"),
        ("event: item", "event: thing", "Invalid enum value 'thing' - at `$.event`"),
        ("event: item", "evnt: item", "unknown field `evnt`"),
        ("item_id: payload.id", "item: payload.id", "members item: item has only occurred_at, item_id"),
        ("      item_id: payload.id\n", "", "members: item_id missing"),
        ("item_id: payload.id", "item_id: payload..id", "members.item_id: 'payload..id'"),
        ("partial: {constant: true}", "partial: {constant: soon}", "members.partial: 'soon'"),
        ("partial: {constant: true}", "partial: {}", "names none; expected one of field, constant, share, object"),
        ("partial: {constant: true}", "partial: {constant: 1, field: a}", "names field and constant"),
        ("partial: {constant: true}", "partial: {share: [a, b]}", "members.partial: 0.5"),
        ("partial: {constant: true}", "partial: {field: a, time: epoch_s}", "time goes with instants only"),
        ("partial: {constant: true}", "partial: {constant: true, optional: true}", "go with field, not with constant"),
        ("live: false", "live: maybe", "members.hidden: 'maybe'"),
        ("gone: true", "off: true", "members.hidden: {'field': 'payload.state'"),
        ("time: epoch_ms", "time: epoch", "Invalid enum value 'epoch'"),
        ("title: {field: payload.title", "title: {field: payload", "payload is needed whole, and also as an object"),
        ("title: {field: payload.title", "title: {field: payload.until", "payload.until is needed in two forms"),
        ("item_id: payload.id", "item_id: {field: payload.id, optional: true}", "every item has one"),
        ("    event: item", "    event: item\n    event: user", "'event' stands twice"),
        ("catalog.changed", "catalog changed", "topic 'catalog changed'"),
        ("event_id: meta.id", "event_id: {derived_from: []}", "length >= 1"),
        ("event: item", "event: [", "while parsing"),
        ("event: item", "event: !!python/object:os.system item", "could not determine a constructor"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_topic_and_place(
    tmp_path: Path, found: str, instead: str, message: str
) -> None:
    assert found in ITEM
    with pytest.raises(MappingError) as caught:
        mapping_of(tmp_path, ITEM.replace(found, instead, 1))
    assert message in str(caught.value)
    assert str(tmp_path / "mappings.yaml") in str(caught.value)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"absent\.yaml.*No such file"):
        load_mappings(tmp_path / "absent.yaml")


def test_the_commands_check_a_file_and_try_it_on_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MARQUEE_MAPPINGS", raising=False)
    runner = CliRunner()
    checked = runner.invoke(app, ["mappings", "check"])
    assert checked.exit_code == 0
    assert f"{WATCHED} -> interaction" in checked.stdout

    samples = json.dumps(MESSAGES[RATED]) + '\n\n{"rating":1}\n'
    tried = runner.invoke(app, ["mappings", "try", RATED, "-", "--json"], input=samples)
    assert tried.exit_code == 1
    event, refused = map(json.loads, tried.stdout.splitlines())
    assert event["event"]["value"] == 4.5
    assert [problem["field"] for problem in refused["problems"]] == ["user_id", "video_id", "timestamp"]
    assert "1 events, 1 dead letters" in tried.stderr

    table = runner.invoke(app, ["mappings", "try", RATED, "-"], input=samples)
    assert "user_id: missing; video_id: missing; timestamp: missing" in table.stdout

    (tmp_path / "own.yaml").write_text(ITEM, encoding="utf-8")
    monkeypatch.setenv("MARQUEE_MAPPINGS", str(tmp_path / "own.yaml"))
    assert "catalog.changed -> item" in runner.invoke(app, ["mappings", "check"]).stdout
    with pytest.raises(MappingError, match="no topic 'elsewhere'"):
        runner.invoke(app, ["mappings", "try", "elsewhere", "-"], input=samples, catch_exceptions=False)
