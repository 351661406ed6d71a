"""Search and similar items: the app over texts in memory."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.text.documents import Document
from serving import keeper, text_follower
from serving.bundle_slot import Outcome
from tests.support.serving_parts import Bench, bench
from tests.support.serving_texts import encoder_of, state_of, text_of
from tests.support.texts_bench import KNOWN, bench_of_texts, ids, publish, refresh, run, search


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


def test_a_version_is_swapped_while_postgres_hangs(served: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that is broken off there does not end: the driver waits until the server says so."""
    monkeypatch.setattr(keeper, "SWAP_READ_S", 0.05)
    monkeypatch.setattr(text_follower, "READ_S", 0.05)

    async def inside() -> None:
        thawed = asyncio.Event()

        async def hung(*_: object) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await thawed.wait()

        with monkeypatch.context() as postgres:
            for name in ("item_states", "item_statistics"):
                postgres.setattr(served.store, name, hung)
            for name in ("keys", "page", "rows", "newest_encoder"):
                postgres.setattr(served.texts, name, hung)
            async with asyncio.timeout(30):
                look = await served.parts.keeper.look()
            live = served.parts.current.live
            assert (look.outcome, live is not None) == (Outcome.LOADED, True)
            assert live is not None
            assert (live.statistics.loaded, served.parts.current.states.loaded) == (False, False)
            assert live.texts is not None
            assert (live.texts.loaded, live.texts.n_texts) == (False, 30)
        thawed.set()
        for step in (served.parts.keeper.refresh_items, served.parts.keeper.refresh_texts):
            await step()
        texts = served.parts.current.texts
        assert (texts is not None and texts.loaded, served.parts.current.states.loaded) == (True, True)

    asyncio.run(inside())


def test_a_search_finds_texts_of_the_bundle_and_of_a_moment_ago(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        before = await search(client, k=30)
        assert {item["title"] for item in before["items"]} <= {KNOWN[item_id].title for item_id in ids(before)}
        assert (before["encoder"], before["model_version"], before["degraded"]) == (encoder_of().digest, "1", False)
        publish(served, new=33)
        await refresh(served)
        after = await search(client, k=30)
        assert set(ids(after)) == {*ids(before), "new"}
        assert [item["rank"] for item in after["items"]] == list(range(1, len(after["items"]) + 1))

    run(served, use)


def test_a_text_that_came_before_its_state_waits_for_it(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        async def found() -> set[str]:
            near = (await client.get("/api/v1/items/i0/similar", params={"by": "content", "k": 50})).json()
            wide = await search(client, k=50, include_hidden=True)
            return {"a", "b", "c"} & {*ids(await search(client, k=50)), *ids(near), *ids(wide)}

        texts = {"a": text_of(33), "b": text_of(36), "c": text_of(39)}
        served.texts.embed(encoder_of(), texts)
        await served.parts.keeper.refresh_texts()
        assert await found() == set()
        fields: dict[str, dict[str, Any]] = {
            "a": {},
            "b": {"hidden": True, "deleted": True},
            "c": {"published_at": datetime(2999, 1, 1, tzinfo=UTC)},
        }
        served.store.states = [state_of(name, texts[name], **fields[name]) for name in texts]
        await served.parts.keeper.refresh_items()
        assert await found() == {"a", "c"}, "c by who asks for what is hidden"
        assert {"a", "b", "c"} & set(ids(await search(client, k=50))) == {"a"}

    run(served, use)


def test_what_is_titled_as_the_query_comes_first_though_others_say_it_more_often(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        more = {f"more{number}": Document("Storm, storm and storm", "storm") for number in range(60)}
        documents = {"plain": Document("Storm", "a book about nothing else than lawyers and gardens"), **more}
        served.texts.embed(encoder_of(), documents)
        served.store.states = [*served.store.states, *(state_of(*said) for said in documents.items())]
        await refresh(served)
        for k in (1, 5):
            assert ids(await search(client, " STORM!", k=k))[0] == "plain"
        assert ids(await search(client, "storm storm", k=1)) == ["more0"]

    run(served, use)


def test_a_title_is_the_query_however_it_writes_and_and_whatever_stands_between_its_words(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        more = {f"more{number}": Document("Storm, storm and harbour, harbour", "storm harbour") for number in range(60)}
        law = "a book about nothing else than lawyers and gardens"
        documents = {"word": Document("Storm and Harbour", law), "sign": Document("Harbour & Storm", law), **more}
        served.texts.embed(encoder_of(), documents)
        served.store.states = [*served.store.states, *(state_of(*said) for said in documents.items())]
        await refresh(served)
        asked = {"storm & harbour": "word", "harbour and storm": "sign", "Storm - and: harbour": "word"}
        for query, first in asked.items():
            assert ids(await search(client, query, k=1)) == [first]

    run(served, use)


def test_a_changed_text_is_found_by_what_it_says_now(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        assert "i0" in ids(await search(client, k=30))
        publish(served, i0=1)
        await refresh(served)
        assert "i0" not in ids(await search(client, k=30))
        assert "i0" in ids(await search(client, "judge court verdict witness lawyer trial jury prison", k=30))

    run(served, use)


def test_search_takes_filters_and_refuses_nonsense(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        assert set(ids(await search(client, "bread judge whale", k=30, categories=["law"]))) <= {
            item_id for item_id, document in KNOWN.items() if document.categories == ("law",)
        }
        [first, *_] = ids(await search(client))
        assert first not in ids(await search(client, exclude=[first]))
        assert (await search(client, "\u4e2d \u202e"))["items"] == []
        for body in ({}, {"query": ""}, {"query": "x", "k": 0}, {"query": "x", "more": 1}, {"query": "x" * 2001}):
            assert (await client.post("/api/v1/items/search", json=body)).status_code == 422

    run(served, use)


def test_without_postgres_search_answers_from_memory(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        served.texts.away = served.store.away = True
        answer = await search(client)
        assert (len(answer["items"]), answer["degraded"], answer["fallback_reason"]) == (10, False, None)

    run(served, use)


def test_a_version_loaded_without_postgres_searches_its_own_texts_and_says_so(served: Bench) -> None:
    async def use() -> None:
        async with served.client() as client:
            answer = await search(client)
            assert (len(answer["items"]), answer["fallback_reason"]) == (10, "item_states_unavailable")
            served.store.away = False
            await served.parts.keeper.refresh_items()
            assert (await search(client))["fallback_reason"] == "texts_unavailable"
            served.texts.away = False
            await refresh(served)
            assert not (await search(client))["degraded"]

    served.store.away = served.texts.away = True
    asyncio.run(use())


def test_an_encoder_that_cannot_be_loaded_stops_searches_and_nothing_else(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        refused = await client.post("/api/v1/items/search", json={"query": "whale"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "encoder" in refused.json()["detail"]
        assert (await client.get("/api/v1/recommend/u")).json()["degraded"] is False
        assert len(ids((await client.get("/api/v1/items/i0/similar?by=content")).json())) > 0

    served.encoders.clear()
    run(served, use)


def test_without_a_version_the_newest_encoder_serves(bare: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        answer = await search(client)
        assert (answer["model_version"], answer["encoder"], answer["degraded"]) == (None, encoder_of().digest, False)
        similar = (await client.get("/api/v1/items/i0/similar", params={"by": "content", "k": 3})).json()
        assert {item["source"] for item in similar["items"]} == {"content"}
        assert similar["degraded"] is False
        both = (await client.get("/api/v1/items/i0/similar")).json()
        assert (ids(both)[:3], both["fallback_reason"]) == (ids(similar), "no_model")
        assert (await client.get("/api/v1/items/i0/similar?by=behaviour")).status_code == 503
        assert (await client.get("/api/v1/items/nobody/similar")).status_code == 404

        other = bare.know_texts(KNOWN, seed=1)
        del bare.encoders[other.digest]
        bare.encoders[other.digest] = other
        await bare.parts.keeper.refresh_texts()
        assert (await search(client))["encoder"] == other.digest

    run(bare, use)


def test_before_there_is_an_encoder_search_says_so(tmp_path: Path) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        refused = await client.post("/api/v1/items/search", json={"query": "whale"})
        assert refused.status_code == 503
        assert "no text is embedded yet" in refused.json()["detail"]

    with bench(tmp_path) as parts:
        run(parts, use)


def test_similar_says_of_each_item_what_it_is_like_by(served: Bench) -> None:
    async def similar(client: httpx.AsyncClient, item_id: str, **query: Any) -> list[dict[str, Any]]:
        response = await client.get(f"/api/v1/items/{item_id}/similar", params={"k": 8, **query})
        items: list[dict[str, Any]] = response.json()["items"]
        return items

    async def use(client: httpx.AsyncClient) -> None:
        behaviour = await similar(client, "i3", by="behaviour")
        content = await similar(client, "i3", by="content")
        both = await similar(client, "i3")
        assert {item["source"] for item in behaviour} == {"similar"}
        assert {item["source"] for item in content} == {"content"}
        assert {item["source"] for item in both} == {"similar", "content"}
        assert {item["item_id"] for item in both} <= {item["item_id"] for item in [*behaviour, *content]}
        assert [item["score"] for item in both] == sorted((item["score"] for item in both), reverse=True)
        assert "i3" not in {item["item_id"] for item in [*behaviour, *content, *both]}
        assert {KNOWN[item["item_id"]].categories for item in content[:3]} == {KNOWN["i3"].categories}

        publish(served, new=3)
        await served.parts.keeper.refresh_items()
        await served.parts.keeper.refresh_texts()
        assert await similar(client, "new", by="behaviour") == []
        assert (await similar(client, "new"))[0]["item_id"] == "i3"
        assert (await similar(client, "i3", by="content"))[0]["item_id"] == "new"

    run(served, use)


def test_what_can_be_searched_is_among_the_metrics(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        publish(served, new=33)
        await refresh(served)
        await search(client)
        text = (await client.get("/metrics")).text
        assert 'marquee_texts{where="bundle"} 30.0' in text
        assert 'marquee_texts{where="newer"} 1.0' in text
        assert "marquee_arrivals 1.0" in text
        assert 'marquee_search_stage_seconds_count{stage="search"} 1.0' in text
        assert f"marquee_texts_newest_embedded_seconds {served.texts.now.timestamp():.6e}"[:45] in text

    run(served, use)
