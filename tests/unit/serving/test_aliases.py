"""Aliases answer as the routes that they stand for; reading the registry's versions holds nothing up."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.audit import AuditEvent
from features.contracts.events import Impression, Interaction, Item
from serving.guard import Guard
from serving.models import KnownMoves, Models
from serving.problems import ProblemError
from tests.support.serving_parts import TOKEN, Bench, MemoryMoves, OneVersion, bench

ADMIN = {"Authorization": f"Bearer {TOKEN}"}
OF_PEOPLE = {"approved_by": "airflow:ana", "rejected_by": "airflow:bo", "approval_reason": "it is better"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Yield an app that serves a version."""
    with bench(tmp_path_factory.mktemp("aliases")) as parts:
        parts.registry.publish()
        yield parts


def ask(parts: Bench, method: str, path: str, **how: Any) -> httpx.Response:
    async def use() -> httpx.Response:
        async with parts.client() as client:
            return await client.request(method, path, **how)

    return asyncio.run(use())


def get(parts: Bench, path: str, **how: Any) -> Any:
    response = ask(parts, "GET", path, **how)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(
    ("alias", "target"),
    [
        ("/api/v1/recs/u?limit=3", "/api/v1/recommend/u?k=3"),
        ("/api/v1/recs/u/x?limit=3&type=trending", "/api/v1/recommend/u/x?k=3&type=trending"),
        ("/api/v1/recs/models-fan?experiment_id=e", "/api/v1/recommend/models-fan?experiment_id=e"),
        ("/recommend?user_id=u&k=4", "/api/v1/recommend/u?k=4"),
        ("/recommend?user_id=u&limit=4&exclude=i1,i2", "/api/v1/recommend/u?k=4&exclude=i1,i2"),
        ("/recommend?user_id=u&type=similar&item_id=i5", "/api/v1/recommend/u?type=similar&item_id=i5"),
        ("/api/v1/recs/u?k=2&categories=none", "/api/v1/recommend/u?k=2&categories=none"),
        ("/api/v1/recs/models?limit=1", "/api/v1/models?limit=1"),
        ("/api/v1/recs/models/1", "/api/v1/models/1"),
        ("/api/v1/recs/experiments", "/api/v1/experiments"),
        ("/api/v1/health", "/health"),
        ("/api/v1/health/live", "/health/live"),
        ("/api/v1/health/ready", "/health/ready"),
    ],
)
def test_an_alias_answers_as_its_target(served: Bench, alias: str, target: str) -> None:
    answers = [get(served, path) for path in (alias, target)]
    for answer in answers:
        if isinstance(answer, dict):
            answer.pop("took_ms", None)
            answer.pop("recommendation_id", None)
    assert answers[0] == answers[1]


def test_an_alias_is_recorded_as_its_target(served: Bench) -> None:
    asyncio.run(served.impressions.flush())
    served.sink.events.clear()
    answer = get(served, "/api/v1/recs/u?limit=2&experiment_id=e-7")
    asyncio.run(served.impressions.flush())
    [shown] = served.sink.events
    assert isinstance(shown, Impression)
    assert (shown.recommendation_id, shown.experiment_id) == (answer["recommendation_id"], "e-7")
    assert answer["experiment_id"] == "e-7"


def test_without_a_user_the_alias_is_of_an_anonymous_visitor(served: Bench) -> None:
    assert get(served, "/recommend?k=2")["user_id"] is None


@pytest.mark.parametrize(
    "at", ["2026-01-01T00:00:00Z", 1767225600, 1767225600.0, 1767225600000, "2026-01-01T01:00:00+01:00"]
)
def test_events_by_other_names_are_the_same_events(served: Bench, at: Any) -> None:
    served.sink.events.clear()
    body = {"user_id": "u", "item_id": 7, "event_type": "purchase", "timestamp": at, "event_id": "e"}
    assert ask(served, "POST", "/events", json=body).status_code == 202
    [event] = served.sink.events
    assert isinstance(event, Interaction)
    assert (event.user_id, event.item_id, event.action) == ("u", "7", "purchase")
    assert event.occurred_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_events_by_other_names_may_be_of_any_type_and_come_in_batches(served: Bench) -> None:
    served.sink.events.clear()
    item = {"event_type": "item", "item_id": "i1", "title": "Heat"}
    plain = {"user_id": "u", "item_id": "i1", "action": "like"}
    assert ask(served, "POST", "/events", json={"events": [item, plain]}).status_code == 202
    assert [type(event) for event in served.sink.events] == [Item, Interaction]


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"timestamp": 1e300}, "timestamp"),
        ({"timestamp": 10**320}, "timestamp"),
        ({"timestamp": True}, "occurred_at"),
        ({"timestamp": "yesterday"}, "occurred_at"),
        ({"event_type": "Bought It"}, "action"),
        ({"event_type": 5}, "action"),
        ({"action": "view"}, "action"),
    ],
)
def test_what_is_no_event_by_other_names_is_refused_with_its_reason(
    served: Bench, more: dict[str, Any], path: str
) -> None:
    body = {"user_id": "u", "item_id": "i1", "event_type": "like", **more}
    refused = ask(served, "POST", "/events", json=body)
    assert refused.status_code == 422
    assert path in {error["path"] for error in refused.json()["results"][0]["errors"]}


def test_versions_are_as_the_registry_has_them(served: Bench) -> None:
    [version] = get(served, "/api/v1/models")["versions"]
    assert version == get(served, "/api/v1/models/1")
    assert (version["version"], version["aliases"], version["run_id"]) == ("1", ["champion"], "run-1")
    assert (version["gate"], version["metrics"]) == ("promote", {"ndcg_at_10": 0.25, "unknown": None})
    assert ask(served, "GET", "/api/v1/models/2").status_code == 404
    assert ask(served, "GET", "/api/v1/models/latest").status_code == 422


def test_versions_tell_the_admin_who_moved_the_alias_to_and_from_them_and_why(served: Bench) -> None:
    assert get(served, "/api/v1/models/1")["moves"] == []
    at = datetime(2026, 1, 1, tzinfo=UTC)
    details = {"alias": "champion", "model": "marquee", "from": "1", "reason": "fewer clicks"}
    served.moves.events = [
        AuditEvent(9, at, "airflow:ana", "rollback", "2", "run-1", details),
        AuditEvent(8, at, "MLflow UI (unknown)", "promote", "1", "", details | {"from": None, "reason": ""}),
        AuditEvent(7, at, "admin", "promote", "3", "", details | {"from": "2"}),
    ]
    to, from_ = get(served, "/api/v1/models/1", headers=ADMIN)["moves"][::-1]
    assert get(served, "/api/v1/models", headers=ADMIN)["versions"][0]["moves"] == [from_, to]
    assert from_ == {
        "at": "2026-01-01T00:00:00Z",
        "by": "airflow:ana",
        "how": "rollback",
        "alias": "champion",
        "from": "1",
        "to": "2",
        "reason": "fewer clicks",
        "correlation_id": "run-1",
    }
    assert (to["by"], to["from"], to["to"]) == ("MLflow UI (unknown)", None, "1")


def test_everybody_else_is_told_when_and_where_the_alias_moved_but_of_no_person(tmp_path: Path) -> None:
    details = {"alias": "champion", "model": "marquee", "from": None, "reason": "ana's words"}
    with bench(tmp_path) as parts:
        parts.registry.publish()
        assert parts.registry.registered is not None
        parts.registry.registered = replace(parts.registry.registered, tags={**OF_PEOPLE, "run": "r"})
        at = datetime(2026, 1, 1, tzinfo=UTC)
        parts.moves.events = [AuditEvent(8, at, "airflow:ana", "promote", "1", "x", details)]
        for path in ("/api/v1/models", "/api/v1/recs/models"):
            for version in (get(parts, f"{path}/1"), *get(parts, path)["versions"]):
                where = {"alias": "champion", "from": None, "to": "1"}
                assert version["moves"] == [{"at": "2026-01-01T00:00:00Z", "how": "promote", **where}]
                assert version["tags"] == {"run": "r"}
            for version in (get(parts, f"{path}/1", headers=ADMIN), *get(parts, path, headers=ADMIN)["versions"]):
                assert version["moves"][0]["by"] == "airflow:ana"
                assert version["tags"] == {**OF_PEOPLE, "run": "r"}
            wrong = ask(parts, "GET", path, headers={"Authorization": "Bearer no"})
            assert (wrong.status_code, "ana" in wrong.text) == (403, False)


def test_without_postgres_versions_are_told_without_their_moves(served: Bench) -> None:
    served.moves.away = True
    try:
        assert get(served, "/api/v1/models/1")["moves"] is None
    finally:
        served.moves.away = False


def test_without_the_registry_versions_are_a_503_and_lists_go_on(served: Bench) -> None:
    served.registry.away = True
    try:
        for path in ("/api/v1/models", "/api/v1/models/1", "/api/v1/recs/models"):
            refused = ask(served, "GET", path)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert get(served, "/api/v1/recs/u")["degraded"] is False
    finally:
        served.registry.away = False


def test_a_registry_that_hangs_is_waited_for_no_longer_than_its_time(tmp_path: Path) -> None:
    free = threading.Event()

    class Hanging(OneVersion):
        def aliases(self) -> dict[str, str]:
            free.wait(60)
            return {}

    with ThreadPoolExecutor(1) as executor:
        known = KnownMoves(MemoryMoves(), Guard("Postgres", timeout_s=5, rest_s=0), executor)
        models = Models("marquee", Hanging(tmp_path), Guard("MLflow", timeout_s=0.05, rest_s=0), executor, known)
        with pytest.raises(ProblemError) as refused:
            asyncio.run(models.newest(1, people=True))
        free.set()
    assert refused.value.status == 503
