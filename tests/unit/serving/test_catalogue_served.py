"""Items one by one and in pages, onboarding, how lists are mixed: the app over texts in memory."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from features.contracts.events import Item
from features.contracts.times import to_us
from serving.asks import Ask, Mixing
from serving.rules import options_of
from tests.support.serving_parts import Bench, bench
from tests.support.serving_texts import T0, encoder_of, state_of
from tests.support.texts_bench import KNOWN, bench_of_texts, ids, run


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app whose bundle knows the texts of its items."""
    with bench_of_texts(tmp_path) as parts:
        yield parts


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app without any version, whose texts are read."""
    with bench(tmp_path) as parts:
        parts.know_texts(KNOWN)
        yield parts


def test_items_are_read_one_by_one_and_in_pages(served: Bench) -> None:
    odd = "a/b\n\u4e2d\U0001d518"
    for number in range(5):
        served.catalogue.put(f"p{number}", title=f"T{number}", text="x" * 1000, categories=["c"], hidden=number == 3)
    served.catalogue.put(odd, attributes={"author": ["A. One", "B. Two"], "year": 1990})

    async def use(client: httpx.AsyncClient) -> None:
        item = (await client.get("/api/v1/items/a%2Fb%0A%E4%B8%AD%F0%9D%94%98")).json()
        assert (item["item_id"], item["author"], item["attributes"]["year"]) == (odd, "A. One, B. Two", 1990)
        assert item["created_at"].endswith("Z")
        assert (await client.get("/api/v1/items/nobody")).status_code == 404
        listed: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await client.get("/api/v1/items", params={"limit": 2, **cursor})).json()
            listed += ids(page)
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert listed == [odd, "p4", "p2", "p1", "p0"]
        in_c = (await client.get("/api/v1/items", params={"category": "c", "include_hidden": True})).json()
        assert ids(in_c) == ["p4", "p3", "p2", "p1", "p0"]
        assert len(in_c["items"][0]["text"]) < 1000
        stats = (await client.get("/api/v1/items/stats")).json()
        assert (stats["items"], stats["hidden"], stats["searchable"]) == (6, 1, 30)
        assert stats["encoder"] == encoder_of().digest
        served.catalogue.away = True
        assert (await client.get("/api/v1/items/stats")).json() == stats, "counted a moment ago"
        served.parts.reader._counted = None
        for path in ("/api/v1/items", "/api/v1/items/stats", "/api/v1/items/p1"):
            assert (await client.get(path)).status_code == 503
        for cursor_text in ("x", "e30", "W10", "WyJhIiwxXQ"):
            assert (await client.get("/api/v1/items", params={"cursor": cursor_text})).status_code == 422

    run(served, use)


def test_onboarding_has_titles_and_leaves_out_what_is_hidden(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        answer = (await client.get("/api/v1/onboarding", params={"k": 3})).json()
        assert (ids(answer), answer["model_version"], answer["degraded"]) == (["i0", "i1", "i2"], "1", False)
        assert answer["items"][1]["title"] == KNOWN["i1"].title
        served.store.states = [state_of("i1", KNOWN["i1"], hidden=True)]
        await served.parts.keeper.refresh_items()
        assert ids((await client.get("/api/v1/onboarding", params={"k": 3})).json()) == ["i0", "i2", "i3"]

    run(served, use)


def test_before_there_is_a_version_onboarding_shows_what_is_popular(bare: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        answer = (await client.get("/api/v1/onboarding")).json()
        assert (ids(answer), answer["fallback_reason"]) == (["i7", "i8"], "no_model")
        assert answer["items"][0]["title"] == KNOWN["i7"].title
        bare.store.away = True
        assert (await client.get("/api/v1/onboarding")).status_code == 503

    bare.store.popular = ["i7", "i8"]
    run(bare, use)


def test_an_author_beside_the_title_stands_among_the_attributes(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        posted = [
            {"item_id": "q1", "author": "Seneca", "attributes": {"year": 62}},
            {"item_id": "q2", "author": ["A", "B"]},
            {"item_id": "q3", "attributes": {"author": "Same"}, "author": "Same"},
        ]
        assert (await client.post("/api/v1/items", json={"items": posted})).status_code == 202
        assert (await client.patch("/api/v1/items/q4", json={"author": None})).status_code == 202
        refused = [
            {"item_id": "q", "author": 7},
            {"item_id": "q", "author": ["a", 7]},
            {"item_id": "q", "author": "x" * 2001},
            {"item_id": "q", "author": "One", "attributes": {"author": "Another"}},
            {"item_id": "q", "author": "One", "attributes": []},
        ]
        response = await client.post("/api/v1/items", json=refused)
        assert response.status_code == 422
        assert {result["status"] for result in response.json()["results"]} == {"refused"}

    run(served, use)
    said = [event.attributes for event in served.sink.events if isinstance(event, Item)]
    assert said == [{"year": 62, "author": "Seneca"}, {"author": ["A", "B"]}, {"author": "Same"}, {"author": None}]


def test_lists_are_mixed_as_the_server_is_set_unless_a_request_says(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        del client
        live = served.parts.current.live
        assert live is not None
        mixing = Mixing(fresh_share=0.2, fresh_draw=0.3, diversity=0.1)
        for asked, wanted in ((None, 0.1), (0.0, 0.0), (0.7, 0.7)):
            options = options_of(Ask("u", diversity=asked), live, to_us(T0), mixing)
            assert (options.fresh_share, options.diversity) == (0.2, wanted)
        for asked, wanted in ((None, 0.2), (0.0, 0.0), (0.7, 0.7)):
            options = options_of(Ask("u", fresh_share=asked), live, to_us(T0), mixing)
            assert (options.fresh_share, options.diversity) == (wanted, 0.1)
        for asked, wanted in ((None, 0.3), (0.0, 0.0), (0.7, 0.7)):
            options = options_of(Ask("u", fresh_draw=asked), live, to_us(T0), mixing, "r-1")
            assert (options.fresh_draw, options.fresh_share, options.seed) == (wanted, 0.2, "r-1")

    run(served, use)


@pytest.mark.parametrize("name", ["diversity", "fresh_share", "fresh_draw"])
def test_how_a_list_is_mixed_is_asked_for_by_request(served: Bench, name: str) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        assert len(ids((await client.get(f"/api/v1/recommend/u?{name}=0.5")).json())) == 20
        assert len(ids((await client.post("/api/v1/recommend", json={name: 1})).json())) == 20
        assert (await client.get(f"/api/v1/recommend/u?{name}=1.5")).status_code == 422
        assert (await client.post("/api/v1/recommend", json={name: -1})).status_code == 422

    run(served, use)
