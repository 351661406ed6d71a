"""Requests for lists past the framework: what they answer is what the framework's route answers."""

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import list_door
from serving.list_query import ListQuery, read_query
from tests.support.serving_parts import TOKEN, Bench, bench

BY_THE_FRAMEWORK = {"content-length": "0"}
VALUES = st.one_of(
    st.sampled_from(
        ["", "1", "5", "0", "501", "true", "off", "nan", "0.5", "similar", "feed", "no", "i1", "i1,i2", " 3"]
    ),
    st.text(max_size=8),
)
KEYS = st.sampled_from([*ListQuery.model_fields, "other"])
HEADERS = st.dictionaries(
    st.sampled_from(["X-Deadline-Ms", "If-None-Match", "Authorization"]),
    st.sampled_from(["60000", "0", "-1", "1e3", "", "60001", "x", "030000", '"tag"', "Bearer x", f"Bearer {TOKEN}"]),
)
IDS = st.one_of(st.sampled_from(["u", "u/x", "a b", "\u00e9"]), st.text(max_size=6))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("door")) as parts:
        parts.registry.publish()
        yield parts


def said(answer: httpx.Response) -> Any:
    """Return what an answer says, but for what is new each time."""
    if answer.status_code == 304:
        return answer.headers["etag"]
    left_out = {"recommendation_id", "took_ms", "request_id", "explanation"}
    return {name: value for name, value in answer.json().items() if name not in left_out}


@given(IDS, st.lists(st.tuples(KEYS, VALUES), max_size=4), HEADERS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_both_ways_answer_the_same(
    served: Bench, user_id: str, query: list[tuple[str, str]], headers: dict[str, str]
) -> None:
    path = f"/api/v1/recommend/{quote(user_id, safe='')}"

    path += f"?{urlencode(query)}"

    async def use() -> None:
        async with served.client() as client:
            here = await client.get(path, headers=headers)
            there = await client.get(path, headers=headers | BY_THE_FRAMEWORK)
        assert here.status_code == there.status_code
        assert said(here) == said(there)

    asyncio.run(use())


def of_parts(count: int, first: int = 0) -> str:
    return ",".join(f"c{number}" for number in range(first, first + count))


@pytest.mark.parametrize(
    ("key", "values", "told"),
    [
        ("categories", [of_parts(100)], None),
        ("categories", [of_parts(100)] * 100, None),
        ("categories", [",".join(["Drama"] * 9000)], None),
        ("categories", [of_parts(101)], "at most 100 items after validation, not 101"),
        ("categories", [of_parts(90, 90 * n) for n in range(3)], "at most 100 items after validation, not 270"),
        ("categories", ["c"] * 101, "at most 100 items after validation, not 101"),
        ("exclude", [of_parts(1000)], None),
        ("exclude", [of_parts(1001)], "at most 1000 items after validation, not 1001"),
        ("seen_actions", [",".join("abcdefghijklmnopqrstuvwxyz")], None),
        ("seen_actions", [",".join("a" * n for n in range(1, 33)), "b_"], "at most 32 items after validation, not 33"),
    ],
)
def test_parts_by_commas_are_bounded_both_ways_as_keys_are(
    served: Bench, key: str, values: list[str], told: str | None
) -> None:
    path = f"/api/v1/recommend/u?{urlencode([(key, value) for value in values], safe=',')}"

    async def use() -> list[httpx.Response]:
        async with served.client() as client:
            return [await client.get(path, headers=more) for more in ({}, BY_THE_FRAMEWORK)]

    here, there = asyncio.run(use())
    assert (here.status_code, there.status_code) == ((200, 200) if told is None else (422, 422))
    assert said(here) == said(there)
    if told is not None:
        assert here.json()["errors"] == [{"path": f"query.{key}", "message": f"List should have {told}"}]


def test_parts_that_are_repeated_count_once() -> None:
    query = read_query(b"categories=a,b,a&categories=b&exclude=a,a&exclude=a%2Ca")
    assert query is not None
    ask = query.ask("u", None)
    assert (ask.categories, ask.exclude) == (["a,b,a", "a", "b"], ["a,a", "a"])


@pytest.mark.parametrize(
    ("deadline", "status"),
    [("0000001500", 200), ("00000001500", 200), ("0000001500999", 422), ("00000000000", 422), ("9" * 50, 422)],
)
def test_a_deadline_of_many_digits_is_read_the_same_both_ways(served: Bench, deadline: str, status: int) -> None:
    async def use() -> list[httpx.Response]:
        headers = {"X-Deadline-Ms": deadline}
        async with served.client() as client:
            return [await client.get("/api/v1/recommend/u", headers=headers | more) for more in ({}, BY_THE_FRAMEWORK)]

    here, there = asyncio.run(use())
    assert (here.status_code, there.status_code) == (status, status)
    assert said(here) == said(there)


def test_well_formed_requests_do_not_reach_the_framework(served: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def watched(query: bytes) -> Any:
        read.append(query)
        return read_query(query)

    monkeypatch.setattr(list_door, "read_query", watched)

    async def use() -> httpx.Response:
        async with served.client() as client:
            return await client.get("/api/v1/recommend/u?k=3", headers={"X-Request-Id": "mine"})

    answer = asyncio.run(use())
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, "mine")
    assert read == [b"k=3"]
    assert 'route="/api/v1/recommend/{user_id}"' in served.parts.metrics.render().decode()
