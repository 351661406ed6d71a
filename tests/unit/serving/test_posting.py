"""Reading posted events: the three forms of a body, stamps, ids by a key, refusals."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from features.contracts.events import Interaction
from serving.posting import MAX_EVENTS, event_ids, events_of, read_events
from serving.problems import ProblemError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VIEW = {"user_id": "u", "item_id": 7, "action": "view"}


@pytest.mark.parametrize(("body", "count"), [(VIEW, 1), ([VIEW, VIEW], 2), ({"events": [VIEW]}, 1)])
def test_the_three_forms_of_a_body(body: Any, count: int) -> None:
    assert events_of(body) == [VIEW] * count


@pytest.mark.parametrize("body", [None, 7, "event", [], {"events": []}, [VIEW] * (MAX_EVENTS + 1)])
def test_other_bodies_are_refused(body: Any) -> None:
    with pytest.raises(ProblemError) as refused:
        events_of(body)
    assert refused.value.status == 422


def test_missing_and_null_members_are_stamped() -> None:
    [read] = read_events([{**VIEW, "occurred_at": None}], ["given"], NOW)
    assert isinstance(read.event, Interaction)
    assert (read.event.event_id, read.event.occurred_at, read.event.item_id) == ("given", NOW, "7")
    assert read.result() == {"event_id": "given", "status": "accepted"}


def test_the_callers_own_id_wins() -> None:
    [read] = read_events([{**VIEW, "event_id": "own"}], ["given"], NOW)
    assert read.event_id == "own"


def test_a_refused_event_is_named_with_its_fields() -> None:
    result = read_events([{"user_id": True, "item_id": "", "action": "No"}], ["e"], NOW)[0].result()
    assert (result["status"], result["code"]) == ("refused", "invalid_field")
    assert {error["path"] for error in result["errors"]} == {"user_id", "item_id", "action"}
    assert read_events([[]], ["e"], NOW)[0].result()["code"] == "not_object"


def test_a_key_gives_the_same_ids_again() -> None:
    key = uuid.uuid4()
    assert event_ids(2, str(key)) == [str(uuid.uuid5(key, "0")), str(uuid.uuid5(key, "1"))]
    assert event_ids(3, "any text") == event_ids(3, "any text")
    assert event_ids(1, "any text") != event_ids(1, "other text")
    assert event_ids(1, None) != event_ids(1, None)
