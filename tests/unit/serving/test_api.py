"""The app over parts in memory: shapes of answers, fallbacks, refusals, hostile input."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from features.contracts.errors import UnavailableError
from features.contracts.events import Impression
from features.contracts.weights import ActionWeights
from features.store import ItemState
from tests.support.serving_client import LIKED, bench_of_user, get, post, run
from tests.support.serving_parts import TOKEN, Bench, bench

T0 = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app that serves a version and knows the user `u`."""
    with bench_of_user(tmp_path) as parts:
        yield parts


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app without any version."""
    with bench(tmp_path) as parts:
        yield parts


def ids(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [item["item_id"] for item in response.json()["items"]]


def test_the_answer_has_the_documented_members(served: Bench) -> None:
    answer = get(served, "/api/v1/recommend/u", k=2).json()
    assert list(answer) == [
        *("user_id", "recommendation_id", "model_version", "items", "degraded", "fallback_reason", "took_ms")
    ]
    assert (answer["user_id"], answer["model_version"]) == ("u", "1")
    assert (answer["degraded"], answer["fallback_reason"]) == (False, None)
    assert [item["rank"] for item in answer["items"]] == [1, 2]
    assert list(answer["items"][0]) == ["item_id", "rank", "score", "source", "reason", "title"]


def test_seen_and_excluded_items_stay_out_and_the_list_is_full(served: Bench) -> None:
    got = ids(get(served, "/api/v1/recommend/u", k=25, exclude=["i1,i2", "i5"]))
    assert len(got) == len(set(got)) == 25
    assert not {"i1", "i2", "i3", "i4", "i5"} & set(got)


def test_explain_adds_ranks_and_what_the_list_was_made_from(served: Bench) -> None:
    answer = get(served, "/api/v1/recommend/u", explain=True).json()
    assert answer["explanation"]["history_event_ids"] is None
    assert answer["explanation"]["bundle_digest"] == served.registry.registered.digest  # type: ignore[union-attr]
    assert answer["items"][0]["explanation"]["ranks"]
    json.dumps(answer, allow_nan=False)


def test_the_admins_token_opens_explanations_and_another_one_is_refused_where_it_matters(served: Bench) -> None:
    def asked(token: str, **query: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return run(  # type: ignore[no-any-return]
            served, lambda client: client.get("/api/v1/recommend/u", params=query, headers=headers)
        )

    answer = asked(TOKEN, explain=True).json()
    assert answer["explanation"]["history_event_ids"] == ["e1"]
    assert answer["items"][0]["explanation"]["features"] is not None
    assert asked("of a gateway", explain=True).status_code == 403
    assert asked("of a gateway").status_code == 200


def test_candidates_are_ranked_and_unknown_ones_left_out(served: Bench) -> None:
    def rank(**body: Any) -> list[str]:
        return ids(post(served, "/api/v1/recommend", body))

    assert set(rank(candidates=["i1", "i2", "nobody knows"])) == {"i1", "i2"}
    assert rank(candidates=["nobody knows"]) == []
    assert rank(candidates=[]) == []
    assert rank(user_id="u", candidates=["i3", "i4"]) == []
    assert set(rank(user_id="u", candidates=["i3", "i4"], include_seen=True)) == {"i3", "i4"}
    assert rank(candidates=["i1", "i2"], exclude=["i1"]) == ["i2"]


def test_an_empty_body_is_an_anonymous_visitor_and_leaves_no_impression(served: Bench) -> None:
    answer = post(served, "/api/v1/recommend", {}).json()
    assert (answer["user_id"], answer["fallback_reason"]) == (None, "no_history")
    asyncio.run(served.impressions.flush())
    assert served.sink.events == []


def test_titles_come_from_item_states(served: Bench) -> None:
    served.store.states = [ItemState("i3", "Heat", (), hidden=False, expires_at=None, published_at=None, changed_at=T0)]
    reasons = [item["reason"] for item in get(served, "/api/v1/recommend/u", k=30).json()["items"]]
    assert any("Heat" in reason for reason in reasons)


def test_similar_items_never_hold_the_item_itself(served: Bench) -> None:
    answer = get(served, "/api/v1/items/i3/similar", k=5)
    assert len(ids(answer)) == 5
    assert "i3" not in ids(answer)
    assert get(served, "/api/v1/items/nobody%20knows/similar").status_code == 404


def test_a_deleted_item_has_none_that_are_like_it(served: Bench) -> None:
    known = ItemState("i3", "Heat", (), hidden=True, expires_at=None, published_at=None, changed_at=T0)

    async def use(client: httpx.AsyncClient) -> httpx.Response:
        await served.parts.keeper.refresh_items()
        return await client.get("/api/v1/items/i3/similar")

    served.store.states = [known]
    assert len(ids(run(served, use))) > 0
    served.store.states = [msgspec.structs.replace(known, deleted=True)]
    refused = run(served, use)
    assert (refused.status_code, refused.headers["content-type"]) == (404, "application/problem+json")
    assert "deleted" in refused.json()["detail"]


def test_without_postgres_the_answer_is_popular_or_inline_and_says_so(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        served.store.away = True
        inline = {"user_id": "u", "history": [{"item_id": "i3", "action": "like"}]}
        return [await client.get("/api/v1/recommend/u"), await client.post("/api/v1/recommend", json=inline)]

    for response in run(served, use):
        assert len(ids(response)) == 20
        assert (response.json()["degraded"], response.json()["fallback_reason"]) == (True, "profile_unavailable")


def test_a_version_loaded_without_postgres_says_what_is_missing_until_it_is_there(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> list[Any]:
        before = (await client.post("/api/v1/recommend", json={})).json()
        served.store.away = False
        await served.parts.keeper.refresh_items()
        middle = (await client.post("/api/v1/recommend", json={})).json()
        await served.parts.keeper.refresh_statistics()
        after = (await client.post("/api/v1/recommend", json={})).json()
        return [answer["fallback_reason"] for answer in (before, middle, after)]

    served.store.away = True
    assert run(served, use) == ["item_states_unavailable", "statistics_unavailable", "no_history"]


def test_a_list_says_what_was_missing_when_it_was_begun(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> Any:
        async with served.turns.busy:
            asked = asyncio.create_task(client.post("/api/v1/recommend", json={}))
            while not served.turns._waiting:  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0)
            served.store.away = False
            await served.parts.keeper.refresh_items()
            await served.parts.keeper.refresh_statistics()
        return (await asked).json()["fallback_reason"]

    served.store.away = True
    assert run(served, use) == "item_states_unavailable"


def test_where_events_are_weighed_otherwise_than_in_training_lists_say_so(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> Any:
        await served.parts.keeper.refresh_statistics()
        return (await client.get("/api/v1/recommend/u")).json()

    served.store.weights = ActionWeights(rating_scale=7).to_json()
    answer = run(served, use)
    assert (answer["degraded"], answer["fallback_reason"]) == (True, "statistics_of_other_weights")


def test_without_a_model_popular_items_of_postgres_are_served(bare: Bench) -> None:
    bare.store.popular = ["a", "b", "c", "i4", "d"]
    bare.store.histories["u"] = LIKED
    answer = get(bare, "/api/v1/recommend/u", k=3, exclude="b")
    assert ids(answer) == ["a", "c", "d"]
    assert answer.json() | {"degraded": True, "fallback_reason": "no_model", "model_version": None} == answer.json()
    assert get(bare, "/api/v1/recommend/u", categories="x").json()["items"] == []
    why = get(bare, "/api/v1/recommend/u", k=1, explain=True).json()["items"][0]["explanation"]
    assert (why["ordered_by"], why["said"]) == ("popular", "There is no model yet: what is popular comes first.")
    assert get(bare, "/health/ready").status_code == 503


def test_with_nothing_at_all_it_is_a_clear_503(bare: Bench) -> None:
    bare.store.away = True
    for path in ("/api/v1/recommend/u", "/api/v1/items/i1/similar"):
        refused = get(bare, path)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["content-type"] == "application/problem+json"
    health = get(bare, "/health")
    assert (health.status_code, health.json()["status"]) == (503, "unavailable")


def test_an_impression_is_sent_after_the_answer(served: Bench) -> None:
    answer = get(served, "/api/v1/recommend/u", k=3, experiment_id="e-1").json()
    assert served.sink.events == []
    asyncio.run(served.impressions.flush())
    [shown] = served.sink.events
    assert isinstance(shown, Impression)
    assert (shown.recommendation_id, shown.experiment_id) == (answer["recommendation_id"], "e-1")
    assert [item.position for item in shown.items] == [1, 2, 3]


def test_impressions_beyond_the_queue_are_dropped_and_counted(served: Bench) -> None:
    for _ in range(5):
        get(served, "/api/v1/recommend/u", k=1)
    served.sink.away = True
    asyncio.run(served.impressions.flush())
    dropped = 'marquee_impressions_total{outcome="dropped"} 5.0'
    assert dropped in get(served, "/metrics").text


def test_events_are_refused_quickly_while_kafka_is_away(served: Bench) -> None:
    served.sink.away = True
    refused = post(served, "/api/v1/events", {"user_id": "u", "item_id": "i1", "action": "view"})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert get(served, "/api/v1/recommend/u").status_code == 200


@pytest.mark.parametrize("by", ["events", "impressions"])
def test_health_says_that_kafka_is_away_until_it_is_there_again(served: Bench, by: str) -> None:
    def said() -> str:
        return str(get(served, "/health").json()["checks"]["kafka"])

    assert said() == "unknown"
    asyncio.run(served.parts.kafka.look())
    assert said() == "ok"
    served.sink.away = True
    if by == "events":
        assert post(served, "/api/v1/events", {"user_id": "u", "item_id": "i1", "action": "view"}).status_code == 503
    else:
        get(served, "/api/v1/recommend/u")
        asyncio.run(served.impressions.flush())
    assert (said(), get(served, "/health").json()["status"]) == ("away", "degraded")
    with pytest.raises(UnavailableError):
        asyncio.run(served.parts.kafka.look())
    assert said() == "away"
    served.sink.away = False
    asyncio.run(served.parts.kafka.look())
    assert said() == "ok"


def test_health_names_what_kafka_lacks_until_it_is_there(served: Bench) -> None:
    def said() -> tuple[str, str, list[str]]:
        asyncio.run(served.parts.kafka.look())
        health = get(served, "/health").json()
        return health["status"], health["checks"]["kafka"], health["lacks"]

    served.sink.lacks = ["Kafka has no topic impressions"]
    assert said() == ("degraded", "incomplete", ["Kafka has no topic impressions"])
    served.sink.lacks = []
    served.parts.kafka.hear(well=False)
    assert said() == ("ok", "ok", [])


def test_whether_the_registry_answers_is_unknown_until_it_was_looked_at(
    bare: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def said() -> tuple[str, str]:
        transport = httpx.ASGITransport(bare.app)  # without the look of `Bench.client`: it may take its time
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            health, info = await client.get("/health"), await client.get("/model/info")
            return health.json()["checks"]["registry"], info.json()["registry"]

    def away(alias: str) -> None:
        raise UnavailableError(f"no answer about {alias}")

    assert asyncio.run(said()) == ("unknown", "unknown")
    asyncio.run(bare.parts.keeper.look())
    assert asyncio.run(said()) == ("ok", "ok")
    monkeypatch.setattr(bare.registry, "by_alias", away)
    asyncio.run(bare.parts.keeper.look())
    assert asyncio.run(said()) == ("away", "away")


def test_admin_routes_need_the_token(served: Bench) -> None:
    assert post(served, "/model/reload", None).status_code == 401
    assert post(served, "/model/reload", None, Authorization="Bearer no").status_code == 403
    allowed = post(served, "/model/reload", None, Authorization=f"Bearer {TOKEN}")
    assert allowed.json() == {"outcome": "unchanged", "version": "1"}
    info = get(served, "/model/info").json()
    assert (info["version"], info["alias"], info["refused"], info["items"]) == ("1", "champion", None, 30)


def test_why_a_version_is_refused_or_the_registry_away_is_told_to_the_admin_alone(
    bare: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def info(**headers: str) -> httpx.Response:
        return run(bare, lambda client: client.get("/model/info", headers=headers))  # type: ignore[no-any-return]

    def told(**headers: str) -> tuple[str, str]:
        found = info(**headers).json()
        return found["refused"]["reason"], found["registry_error"]

    def away(alias: str) -> None:
        raise UnavailableError(f"http://mlflow.internal:5000: no answer about {alias}")

    bare.registry.publish()
    (bare.registry.folder / "gram.npy").write_bytes(b"")
    admin = {"Authorization": f"Bearer {TOKEN}"}
    assert info().json()["registry_error"] is None
    monkeypatch.setattr(bare.registry, "by_alias", away)
    reason, error = told(**admin)
    assert "gram.npy" in reason
    assert "http://mlflow.internal:5000" in error
    for words in told():
        assert "/" not in words
        assert "gram" not in words
        assert "the admin's token" in words
    assert info(Authorization="Bearer of a gateway").status_code == 403


def test_the_docs_page_needs_no_other_host(served: Bench) -> None:
    page = get(served, "/docs").text
    assert "//" not in page.replace("<!DOCTYPE html>", "").replace("://", ":").split("<script>")[0].split("</title>")[1]
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
        assert f"/docs/assets/{name}" in page
        assert get(served, f"/docs/assets/{name}").status_code == 200
