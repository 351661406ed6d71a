"""The app over parts in memory: shapes of answers, fallbacks, refusals, hostile input."""

import asyncio
import json
import math
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from features.contracts.errors import UnavailableError
from features.contracts.events import Impression
from features.contracts.profiles import UserHistory
from features.contracts.weights import ActionWeights
from features.store import ItemState
from tests.support.serving_parts import TOKEN, Bench, bench
from tests.support.serving_texts import text_of

T0 = datetime(2026, 1, 1, tzinfo=UTC)
LIKED = UserHistory("u", ["e1"], ["i3"], ["like"], [math.nan], [1_700_000_000_000_000], ["i3", "i4"])

Use = Callable[[httpx.AsyncClient], Awaitable[Any]]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app that serves a version and knows the user `u`."""
    with bench(tmp_path) as parts:
        parts.registry.publish()
        parts.store.histories["u"] = LIKED
        yield parts


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app without any version."""
    with bench(tmp_path) as parts:
        yield parts


def run(parts: Bench, use: Use) -> Any:
    """Return what `use` returns for a client of the app."""

    async def inside() -> Any:
        async with parts.client() as client:
            return await use(client)

    return asyncio.run(inside())


def get(parts: Bench, path: str, **query: Any) -> httpx.Response:
    return run(parts, lambda client: client.get(path, params=query))  # type: ignore[no-any-return]


def post(parts: Bench, path: str, body: Any, **headers: str) -> httpx.Response:
    return run(parts, lambda client: client.post(path, json=body, headers=headers))  # type: ignore[no-any-return]


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


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("DELETE", "/api/v1/events", 405),
        ("GET", "/api/v1/recommend/", 404),
        ("GET", "/api/v1/recommend/u?k=0", 422),
        ("GET", "/api/v1/recommend/u?k=99999999999999999999", 422),
        ("GET", "/api/v1/recommend/u?k=NaN", 422),
        ("GET", "/api/v1/recommend/u?type=nonsense", 422),
        ("GET", "/api/v1/recommend/u?experiment_id=a%20b", 422),
        ("GET", "/api/v1/recommend/a%00b", 422),
        ("GET", "/api/v1/recommend/" + "u" * 257, 422),
        ("GET", "/api/v1/recommend/u?categories=%00", 422),
        ("GET", "/api/v1/recommend/%FF", 400),
        ("GET", "/api/v1/recommend/u?exclude=%C3", 400),
        ("GET", "/recommend?user_id=%FF", 400),
    ],
)
def test_refusals_are_problem_documents(served: Bench, method: str, path: str, status: int) -> None:
    response = run(served, lambda client: client.request(method, path))
    problem = response.json()
    assert (response.status_code, problem["status"]) == (status, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == response.headers["x-request-id"]
    assert {"type", "title", "detail", "instance"} <= set(problem)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"k": NaN}', 400),
        (b'"\xff"', 400),
        (b"[" * 100_000, 400),
        (b'{"context":' + b'{"a":' * 40 + b"1" + b"}" * 41, 400),
        (b"[]", 422),
        (b'{"k": 1e400}', 400),
        (b'{"k": 5.5}', 422),
        (b'{"user_id": true}', 422),
        (b'{"user_id": 1.5}', 422),
        (b'{"unknown": 1}', 422),
        (b'{"history": [{"item_id": ""}]}', 422),
        (b'{"context": {"a": "' + b"x" * 20_000 + b'"}}', 422),
        (b" " * (2 * 1024 * 1024 + 1), 413),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/recommend", "/api/v1/events", "/api/v1/items/search"])
def test_hostile_bodies_are_refused(served: Bench, path: str, body: bytes, status: int) -> None:
    refused = run(served, lambda client: client.post(path, content=body))
    assert refused.status_code in ({status} if path.endswith("recommend") else {status, 422})
    assert refused.headers["content-type"] == "application/problem+json"
    assert "input_value" not in refused.text


def test_a_path_names_all_its_methods(served: Bench) -> None:
    refused = run(served, lambda client: client.put("/api/v1/items/x"))
    assert (refused.status_code, refused.headers["allow"]) == (405, "DELETE, GET, PATCH")


@pytest.mark.parametrize("path", ["/health/ready", "/health", "/metrics", "/model/info", "/docs", "/api/v1/items/i3"])
def test_head_says_what_get_would(served: Bench, path: str) -> None:
    head, got = (run(served, partial(httpx.AsyncClient.request, method=method, url=path)) for method in ("HEAD", "GET"))
    assert head.status_code == got.status_code
    assert head.headers["content-type"] == got.headers["content-type"]


def test_head_makes_no_list_that_would_count_as_shown(served: Bench) -> None:
    refused = run(served, lambda client: client.head("/api/v1/recommend/u"))
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")


def test_head_is_counted_by_its_route(served: Bench) -> None:
    async def heads(client: httpx.AsyncClient) -> str:
        await client.head("/api/v1/items/i3")
        return (await client.get("/metrics")).text

    assert 'method="HEAD",route="/api/v1/items/{item_id}"' in run(served, heads)


def test_a_wrong_value_is_named(served: Bench) -> None:
    [error] = get(served, "/api/v1/recommend/u", k=0).json()["errors"]
    assert error == {"path": "query.k", "message": "Input should be greater than or equal to 1; got '0'"}
    [error] = post(served, "/api/v1/recommend", []).json()["errors"]
    assert error == {"path": "body", "message": "expected an object"}


def test_of_many_wrong_values_the_first_are_named(served: Bench) -> None:
    answer = post(served, "/api/v1/recommend", {"candidates": [0.5] * 1000, "exclude": [0.5] * 500}).json()
    assert answer["detail"] == "1500 values are missing or malformed"
    assert [error["path"] for error in answer["errors"]] == [*(f"body.candidates.{n}" for n in range(100)), "$"]
    assert answer["errors"][-1]["message"] == "and 1400 more"


@pytest.mark.parametrize(
    ("path", "body", "first"),
    [
        ("recommend", {"more": 1, "history": [{"item_id": "i", "title": "x"}] * 500}, "more"),
        ("recommend", {"history": [{"item_id": "i"}, {"item_id": "i", **dict.fromkeys("abc")}] * 250}, "history.1.a"),
        ("items/search", {"query": "q", **{f"m{number}": 1 for number in range(501)}}, "m0"),
    ],
)
def test_a_body_of_very_many_unknown_members_is_refused_by_the_first(
    served: Bench, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any], first: str
) -> None:
    monkeypatch.setattr(BaseModel, "model_validate", None)  # which would make a problem of each
    answer = post(served, f"/api/v1/{path}", body).json()
    [error] = answer["errors"]
    assert error["path"] == f"body.{first}"
    assert error["message"].startswith("Extra inputs are not permitted; the first of ")


def test_a_few_unknown_members_are_named_each(served: Bench) -> None:
    body = {"mre": 1, "history": [{"item_id": "i", "title": "x"}] * 99}
    errors = post(served, "/api/v1/recommend", body).json()["errors"]
    assert {error["path"] for error in errors} == {"body.mre", *(f"body.history.{n}.title" for n in range(99))}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [(b"", 400, "is empty"), (b"\x1f\x8b\x08", 415, "compressed"), (b"{", 400, "not JSON")],
)
@pytest.mark.parametrize("path", ["/api/v1/recommend", "/api/v1/events"])
def test_a_body_that_cannot_be_read_is_told_why(served: Bench, path: str, body: bytes, status: int, said: str) -> None:
    refused = run(served, lambda client: client.post(path, content=body))
    assert (refused.status_code, said in refused.json()["detail"]) == (status, True)


@pytest.mark.parametrize("context", [{"a": "\0"}, {"a": [{"\0": 1}]}])
def test_a_context_that_no_event_may_have_is_refused(served: Bench, context: dict[str, Any]) -> None:
    refused = post(served, "/api/v1/recommend", {"user_id": "u", "context": context})
    assert (refused.status_code, "U+0000" in refused.text) == (422, True)
    assert post(served, "/api/v1/recommend", {"user_id": "u", "context": {"a": "\\u0000"}}).status_code == 200


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_an_instant_outside_of_all_years_is_refused(served: Bench, at: str) -> None:
    admin = {"Authorization": f"Bearer {TOKEN}"}
    answers = [
        run(served, lambda client: client.get("/api/v1/admin/dead-letters", params={"since": at}, headers=admin)),
        post(served, "/api/v1/admin/dead-letters/discard", {"since": at}, **admin),
        post(served, "/api/v1/models/train", {"since": at}, **admin),
        post(served, "/api/v1/recommend", {"history": [{"item_id": "i1", "occurred_at": at}]}),
    ]
    assert [answer.status_code for answer in answers] == [422] * 4


def test_a_body_that_grows_beyond_the_limit_without_a_length_is_refused(served: Bench) -> None:
    async def endless() -> Any:
        for _ in range(40):
            yield b" " * 100_000

    assert run(served, lambda client: client.post("/api/v1/events", content=endless())).status_code == 413


def test_a_defect_leaves_as_a_problem_without_insides(served: Bench) -> None:
    async def broken(user_id: str, limit: int) -> UserHistory:
        raise RuntimeError(f"secret of {user_id} {limit}")

    served.store.history = broken  # type: ignore[method-assign]  # a defect in a part
    failed = get(served, "/api/v1/recommend/u")
    assert failed.status_code == 500
    assert failed.headers["content-type"] == "application/problem+json"
    assert "secret" not in failed.text
    assert failed.headers["x-request-id"] == failed.json()["request_id"]


def test_an_item_whose_id_ends_as_a_path_does_is_read_and_is_no_question_for_neighbours(served: Bench) -> None:
    odd = quote("i3/similar", safe="")
    assert get(served, f"/api/v1/items/{odd}").json()["detail"].startswith("there is no item of this id")
    assert get(served, "/api/v1/items/i3/similar").json()["item_id"] == "i3"
    assert get(served, f"/api/v1/items/{odd}/similar").status_code == 404


ODD = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20) | st.sampled_from(
    [
        "'; DROP TABLE items; --",
        "../../etc/passwd",
        "a/b/similar",
        "%00",
        "\u202e",
        "\U0001d518",
        "null",
        "-1",
        "a" * 256,
    ]
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ODD, st.integers(-(10**30), 10**30), st.lists(ODD, max_size=3))
def test_odd_ids_and_numbers_never_fail(served: Bench, odd: str, k: int, more: list[str]) -> None:
    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        await served.parts.keeper.refresh_texts()
        return [
            await client.get(f"/api/v1/recommend/{quote(odd, safe='')}", params={"k": k, "exclude": more}),
            await client.get(f"/api/v1/recommend/{quote(odd, safe='')}", params={"categories": more}),
            await client.get(f"/api/v1/items/{quote(odd, safe='')}/similar", params={"by": "content"}),
            await client.get(f"/api/v1/items/{quote(odd, safe='')}"),
            await client.get("/api/v1/items", params={"cursor": odd, "category": odd, "limit": k}),
            await client.get("/api/v1/items", params={"cursor": b64encode(odd.encode()).decode()}),
            await client.get("/api/v1/onboarding", params={"k": k}),
            await client.post("/api/v1/items/search", json={"query": odd, "exclude": more, "categories": more}),
            await client.post("/api/v1/items", json={"item_id": odd, "author": odd}),
            await client.post("/api/v1/recommend", json={"user_id": odd, "exclude": more, "candidates": more}),
            await client.post("/api/v1/events", json={"user_id": odd, "item_id": k, "action": odd}),
        ]

    served.know_texts({"i1": text_of(1)})
    responses = run(served, use)
    assert all(response.status_code < 500 for response in responses), [response.text for response in responses]
    # Clients resolve dots in paths before they send.
    if "\0" not in "".join((odd, *more)) and odd not in {".", ".."}:
        assert responses[1].json()["user_id"] == odd


def test_the_docs_page_needs_no_other_host(served: Bench) -> None:
    page = get(served, "/docs").text
    assert "//" not in page.replace("<!DOCTYPE html>", "").replace("://", ":").split("<script>")[0].split("</title>")[1]
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
        assert f"/docs/assets/{name}" in page
        assert get(served, f"/docs/assets/{name}").status_code == 200
