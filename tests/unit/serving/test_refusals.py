"""What the app refuses, and how: problem documents, hostile input, odd ids, HEAD."""

from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from features.contracts.profiles import UserHistory
from tests.support.serving_client import bench_of_user, get, post, run
from tests.support.serving_parts import TOKEN, Bench
from tests.support.serving_texts import text_of

T0 = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app that serves a version and knows the user `u`."""
    with bench_of_user(tmp_path) as parts:
        yield parts


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
    ("path", "most"),
    [
        ("/recommend?user_id=", 256),
        ("/api/v1/recommend/u?type=similar&item_id=", 256),
        ("/api/v1/recommend/", 256),
        ("/api/v1/admin/dead-letters?topic=", 249),
    ],
)
def test_texts_that_are_too_long_are_told_how_many_characters_they_may_have(
    served: Bench, path: str, most: int
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    response = run(served, lambda client: client.get(path + "x" * (most + 1), headers=headers))
    [error] = response.json()["errors"]
    assert error["message"].startswith(f"String should have at most {most} characters")


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
