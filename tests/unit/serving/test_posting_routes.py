"""Shortcuts, feedback and catalogue routes over parts in memory: what becomes of each body, and what is refused why."""

import asyncio
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from features.contracts.event_problems import nearest_member
from features.contracts.events import Event, Feedback, Interaction, Item, User
from serving import forms
from tests.support.serving_parts import TOKEN, Bench, bench

ADMIN = {"Authorization": f"Bearer {TOKEN}"}
STAMPS = {"event_id": "e1", "occurred_at": "2026-01-01T02:00:00+02:00"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app."""
    with bench(tmp_path) as parts:
        yield parts


def ask(parts: Bench, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    async def use() -> httpx.Response:
        async with parts.client() as client:
            return await client.request(method, path, json=body, headers=headers)

    return asyncio.run(use())


def took(parts: Bench, method: str, path: str, body: Any = None, **headers: str) -> Event:
    """Return the one event that a request became."""
    parts.sink.events.clear()
    answer = ask(parts, method, path, body, **headers)
    assert answer.status_code == 202, answer.text
    [event] = parts.sink.events
    assert answer.json() == {"results": [{"event_id": event.event_id, "status": "accepted"}]}
    return event


def refused(parts: Bench, method: str, path: str, body: Any) -> dict[str, str]:
    """Return the problems of the one event of a request, message by path."""
    parts.sink.events.clear()
    answer = ask(parts, method, path, body)
    assert (answer.status_code, parts.sink.events) == (422, []), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    [result] = answer.json()["results"]
    assert result["status"] == "refused"
    return {error["path"]: error["message"] for error in result["errors"]}


@pytest.mark.parametrize(
    ("watched_s", "total_s", "value"), [(30, 120, 0.25), (500.5, 100, 1.0), (-3, 100, 0.0), (0, 0.5, 0.0)]
)
def test_watch_keeps_the_share_watched(served: Bench, watched_s: float, total_s: float, value: float) -> None:
    body = {"user_id": 7, "item_id": "i1", "watched_s": watched_s, "total_s": total_s, **STAMPS}
    event = took(served, "POST", "/api/v1/events/watch", {**body, "recommendation_id": "r1"})
    assert isinstance(event, Interaction)
    assert (event.user_id, event.item_id, event.action, event.value) == ("7", "i1", "watch", value)
    assert (event.event_id, event.recommendation_id) == ("e1", "r1")
    assert event.occurred_at.isoformat() == "2026-01-01T00:00:00+00:00"


def test_search_has_no_item_and_keeps_the_query(served: Bench) -> None:
    event = took(served, "POST", "/api/v1/events/search", {"user_id": "u", "query": "Größe"})
    assert isinstance(event, Interaction)
    assert (event.item_id, event.action, event.context) == (None, "search", {"query": "Größe"})


@pytest.mark.parametrize(
    ("route", "said", "value"),
    [("rating", {"rating": 4.5}, 4.5), ("favorite", {"favorite": True}, 1.0), ("favorite", {"favorite": False}, -1.0)],
)
def test_ratings_and_favourites(served: Bench, route: str, said: dict[str, Any], value: float) -> None:
    event = took(served, "POST", f"/api/v1/events/{route}", {"user_id": "u", "item_id": "i", **said})
    assert isinstance(event, Interaction)
    assert (event.action, event.value) == (route, value)


@pytest.mark.parametrize(
    ("route", "body", "paths"),
    [
        ("watch", {"user_id": "u", "item_id": "i", "watched_s": 1, "total_s": 0}, {"total_s"}),
        ("watch", {"user_id": "u", "item_id": "i", "watched_s": 1}, {"total_s"}),
        ("watch", {"user_id": True, "watched_s": "1", "total_s": -1}, {"user_id", "item_id", "watched_s", "total_s"}),
        ("watch", {"user_id": "u", "item_id": "i", "watched_s": 1, "total_s": 2, "total": 3}, {"total"}),
        ("search", {"user_id": "u", "query": ""}, {"query"}),
        ("search", {"user_id": "u", "query": "a\0b"}, {"context.query"}),
        ("search", {"user_id": "u", "query": "q", "item_id": "i"}, {"item_id"}),
        ("rating", {"user_id": "u", "item_id": "", "rating": None}, {"item_id", "rating"}),
        ("rating", {"user_id": "u", "item_id": None, "rating": 3}, {"item_id"}),
        ("favorite", {"user_id": "u", "item_id": "i", "favorite": 1}, {"favorite"}),
        ("favorite", {"user_id": "u", "item_id": "i", "favorite": True, "type": "item"}, {"type"}),
        ("favorite", {"user_id": "u", "item_id": "i", "favorite": True, "event_id": ""}, {"event_id"}),
    ],
)
def test_each_wrong_member_of_a_shortcut_is_named(
    served: Bench, route: str, body: dict[str, Any], paths: set[str]
) -> None:
    assert set(refused(served, "POST", f"/api/v1/events/{route}", body)) == paths


def test_a_shortcut_takes_one_object(served: Bench) -> None:
    assert ask(served, "POST", "/api/v1/events/rating", []).status_code == 422
    assert ask(served, "POST", "/api/v1/events/rating", [{"user_id": "u"}]).json()["detail"] == "expected one object"


def test_a_key_names_the_event_of_every_route(served: Bench) -> None:
    bodies = {
        "/api/v1/events/rating": {"user_id": "u", "item_id": "i", "rating": 3},
        "/api/v1/items": {"item_id": "i"},
        "/api/v1/feedback": {"recommendation_id": "r", "outcome": "clicked"},
    }
    for path, body in bodies.items():
        first, again = (took(served, "POST", path, body, **{"Idempotency-Key": "k"}) for _ in range(2))
        assert first.event_id == again.event_id
    for key in ("", "k" * 257):
        assert ask(served, "POST", "/api/v1/items", {"item_id": "i"}, **{"Idempotency-Key": key}).status_code == 422


def test_feedback_comes_alone_or_in_bulk(served: Bench) -> None:
    one = {"recommendation_id": "r", "outcome": "clicked", "item_id": 3, "user_id": "u"}
    event = took(served, "POST", "/api/v1/feedback", one)
    assert isinstance(event, Feedback)
    assert (event.recommendation_id, event.item_id, event.outcome) == ("r", "3", "clicked")
    for body in ([one] * 3, {"feedback": [one] * 3}):
        assert len(ask(served, "POST", "/api/v1/feedback", body).json()["results"]) == 3
    assert set(refused(served, "POST", "/api/v1/feedback", {"outcome": "Bad!"})) == {"recommendation_id", "outcome"}


def test_items_are_whole_or_partial(served: Bench) -> None:
    whole = {"item_id": "i/1 ☃", "title": "Heat", "categories": ["Crime"], "stock": 3, "attributes": {"year": 1995}}
    event = took(served, "POST", "/api/v1/items", whole)
    assert isinstance(event, Item)
    assert (event.item_id, event.partial) == ("i/1 ☃", False)
    assert event.said() == {name: value for name, value in whole.items() if name != "item_id"}
    event = took(served, "POST", "/api/v1/items", {"item_id": "i1", "partial": True, "hidden": True})
    assert isinstance(event, Item)
    assert (event.partial, event.said()) == (True, {"hidden": True})


def test_a_misspelt_member_does_not_vanish(served: Bench) -> None:
    problems = refused(served, "POST", "/api/v1/items", {"item_id": "i", "catgories": ["a"]})
    assert problems == {"catgories": "unknown member; did you mean `categories`?"}
    problems = refused(served, "POST", "/api/v1/users", {"user_id": "u", "langage": "en"})
    assert "known are" in problems["langage"]
    assert refused(served, "PATCH", "/api/v1/items/i", {"titel": "x"}).keys() == {"titel"}


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names for which a like one is looked for."""
    names: list[str] = []

    def near(name: str, known: Collection[str]) -> str | None:
        names.append(name)
        return nearest_member(name, known)

    monkeypatch.setattr(forms, "nearest_member", near)
    return names


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("events/watch", {"user_id": "u", "item_id": "i", "watched_s": 1, "total_s": 2}),
        ("feedback", {"recommendation_id": "r", "outcome": "clicked"}),
        ("items", {"item_id": "i"}),
        ("users", {"user_id": "u"}),
    ],
)
def test_of_many_unknown_members_few_are_named(
    served: Bench, compared: list[str], path: str, right: dict[str, Any]
) -> None:
    answer = ask(served, "POST", f"/api/v1/{path}", {**right, **{f"m{number}": 1 for number in range(900)}})
    [result] = answer.json()["results"]
    assert [error["path"] for error in result["errors"]] == [*(f"m{number}" for number in range(20)), "$"]
    assert result["errors"][-1]["message"] == "and 880 more"
    assert compared == [f"m{number}" for number in range(20)]


def test_a_batch_of_wrong_items_says_of_each_that_it_is_and_why_of_the_first(
    served: Bench, compared: list[str]
) -> None:
    items = [{"item_id": f"i{n}", **{f"categoriesss{m}": 1 for m in range(n % 80)}} for n in range(1000)]
    answer = ask(served, "POST", "/api/v1/items", {"items": items})
    results = answer.json()["results"]
    assert [result["status"] for result in results] == ["refused" if n % 80 else "accepted" for n in range(1000)]
    named = [error for result in results for error in result.get("errors", []) if error["path"] != "$"]
    assert 100 <= len(named) == len(compared) <= 120
    assert results[3]["errors"][2]["message"] == "unknown member; did you mean `categories`?"
    assert results[-1]["code"] == "invalid_field"
    assert results[-1]["errors"] == [{"path": "$", "message": "not looked into: 100 problems are named in one answer"}]
    assert len(answer.content) < 300_000


def test_of_a_thousand_items_the_right_ones_are_sent(served: Bench) -> None:
    items: list[dict[str, Any]] = [{"item_id": f"i{number}", "title": "x"} for number in range(1000)]
    items[17] = {"item_id": "i17", "stock": -1}
    answer = ask(served, "POST", "/api/v1/items", {"items": items})
    results = answer.json()["results"]
    assert (answer.status_code, len(results), len(served.sink.events)) == (422, 1000, 999)
    assert [place for place, result in enumerate(results) if result["status"] == "refused"] == [17]
    assert ask(served, "POST", "/api/v1/items", items + items[:1]).status_code == 422


@pytest.mark.parametrize("item_id", ["i1", "a/b/similar", "☃ und %", "line\nend\n", "similar", "..%2f"])
def test_any_id_can_be_patched_and_deleted(served: Bench, item_id: str) -> None:
    path = f"/api/v1/items/{quote(item_id, safe='')}"
    event = took(served, "PATCH", path, {"stock": None, "attributes": {"colour": None}})
    assert isinstance(event, Item)
    assert (event.item_id, event.partial) == (item_id, True)
    assert event.said() == {"stock": None, "attributes": {"colour": None}}
    assert ask(served, "DELETE", path).status_code == 401
    event = took(served, "DELETE", path, **ADMIN)
    assert isinstance(event, Item)
    assert (event.item_id, event.partial, event.said()) == (item_id, True, {"deleted": True})


def test_only_the_admin_may_delete(served: Bench) -> None:
    for method, path, body in (
        ("POST", "/api/v1/items", {"item_id": "i", "deleted": True}),
        ("PATCH", "/api/v1/items/i", {"deleted": True}),
    ):
        assert "DELETE" in refused(served, method, path, body)["deleted"]


def test_a_patch_names_its_item_in_the_path_alone(served: Bench) -> None:
    problems = refused(served, "PATCH", "/api/v1/items/i", {"item_id": "j", "partial": False})
    assert set(problems) == {"item_id", "partial"}
    assert ask(served, "PATCH", "/api/v1/items/i", [{"stock": 1}]).status_code == 422
    assert ask(served, "PATCH", "/api/v1/items/" + "i" * 257, {"stock": 1}).status_code == 422


def test_users_are_whole_or_partial(served: Bench) -> None:
    event = took(served, "POST", "/api/v1/users", {"user_id": "u", "attributes": {"a": 1}})
    assert isinstance(event, User)
    assert (event.user_id, event.partial, event.attributes) == ("u", False, {"a": 1})
    event = took(served, "PATCH", "/api/v1/users/u%2F1", {"attributes": {"a": None}})
    assert isinstance(event, User)
    assert (event.user_id, event.partial, event.attributes) == ("u/1", True, {"a": None})


@pytest.mark.parametrize(
    "path",
    ["events", "events/watch", "events/search", "events/rating", "events/favorite", "feedback", "items", "users"],
)
def test_every_posting_route_has_limits_and_says_when_kafka_is_away(served: Bench, path: str) -> None:
    rights: dict[str, dict[str, Any]] = {
        "events": {"user_id": "u", "item_id": "i", "action": "view"},
        "events/watch": {"user_id": "u", "item_id": "i", "watched_s": 1, "total_s": 2},
        "events/search": {"user_id": "u", "query": "q"},
        "events/rating": {"user_id": "u", "item_id": "i", "rating": 1},
        "events/favorite": {"user_id": "u", "item_id": "i", "favorite": True},
        "feedback": {"recommendation_id": "r", "outcome": "clicked"},
        "items": {"item_id": "i"},
        "users": {"user_id": "u"},
    }
    right = rights[path]
    url = f"/api/v1/{path}"
    assert ask(served, "POST", url, "x" * 3_000_000).status_code == 413
    too_late = ask(served, "POST", url, {**right, "occurred_at": "2999-01-01T00:00:00Z"})
    assert too_late.json()["results"][0]["code"] == "far_future"
    too_early = ask(served, "POST", url, {**right, "occurred_at": "1969-12-31T23:00:00Z"})
    assert too_early.json()["results"][0]["code"] == "far_past"
    deep: Any = 1
    for _ in range(40):
        deep = {"a": deep}
    assert ask(served, "POST", url, {**right, "context": deep}).status_code == 400
    served.sink.away = True
    away = ask(served, "POST", url, right)
    assert (away.status_code, away.headers["retry-after"]) == (503, "1")


def test_outcomes_are_counted_by_reason(served: Bench) -> None:
    ask(served, "POST", "/api/v1/events", [{"user_id": "u"}, {"user_id": "u", "item_id": "i", "action": "view"}])
    text = ask(served, "GET", "/metrics").text
    assert 'marquee_events_posted_total{outcome="accepted"} 1.0' in text
    assert 'marquee_events_posted_total{outcome="refused"} 1.0' in text
    assert 'marquee_events_refused_total{code="invalid_field"} 1.0' in text
    assert "marquee_events_acknowledged_seconds_count 1.0" in text
    assert 'marquee_http_requests_total{method="POST",route="/api/v1/events",status="422"} 1.0' in text
