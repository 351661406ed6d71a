"""Search, similar items, arrivals, listings, onboarding: the app over texts in memory."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from features.contracts.events import Item
from features.contracts.profiles import UserHistory
from features.contracts.times import to_us
from features.text.documents import Document
from serving import keeper, text_follower
from serving.asks import Ask, Mixing
from serving.bundle_slot import Outcome
from serving.growing import REST_PER_WORK, Grower
from serving.live import Current
from serving.rules import options_of
from tests.support.serving_parts import Bench, bench
from tests.support.serving_texts import T0, encoder_of, state_of, text_of, with_texts

KNOWN = {f"i{number}": text_of(number) for number in range(30)}
SEA = "whale ship harbour storm captain island sailor wave"
Use = Callable[[httpx.AsyncClient], Awaitable[Any]]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app whose bundle knows the texts of its items."""
    encoder = encoder_of()
    with bench(tmp_path, with_texts(encoder, KNOWN, to_us(T0))) as parts:
        parts.registry.publish()
        parts.encoders[encoder.digest] = encoder
        parts.store.states = [state_of(item_id, document) for item_id, document in KNOWN.items()]
        yield parts


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app without any version, whose texts are read."""
    with bench(tmp_path) as parts:
        parts.know_texts(KNOWN)
        yield parts


def run(parts: Bench, use: Use) -> Any:
    """Return what `use` returns for a client of the app."""

    async def inside() -> Any:
        async with parts.client() as client:
            await parts.parts.keeper.refresh_items()
            await parts.parts.keeper.refresh_texts()
            return await use(client)

    return asyncio.run(inside())


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
        for refresh in (served.parts.keeper.refresh_items, served.parts.keeper.refresh_texts):
            await refresh()
        texts = served.parts.current.texts
        assert (texts is not None and texts.loaded, served.parts.current.states.loaded) == (True, True)

    asyncio.run(inside())


def publish(parts: Bench, **items: int) -> None:
    """Let items of some texts exist and be embedded."""
    documents = {item_id: text_of(number) for item_id, number in items.items()}
    parts.texts.embed(encoder_of(), documents)
    parts.store.states = [*parts.store.states, *(state_of(*said) for said in documents.items())]


async def refresh(parts: Bench) -> None:
    """Do once what the keeper does all the time."""
    keeper = parts.parts.keeper
    await keeper.refresh_items()
    await keeper.refresh_texts()
    await keeper.grow()


async def search(client: httpx.AsyncClient, query: str = SEA, **body: Any) -> dict[str, Any]:
    response = await client.post("/api/v1/items/search", json={"query": query, **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


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
        documents = {
            "plain": Document("Storm", "a book about nothing else than lawyers and gardens"),
            "more": Document("Storm, storm and storm", "storm"),
        }
        served.texts.embed(encoder_of(), documents)
        served.store.states = [*served.store.states, *(state_of(*said) for said in documents.items())]
        await refresh(served)
        for k in (1, 5):
            assert ids(await search(client, " STORM!", k=k))[0] == "plain"
        assert ids(await search(client, "storm storm", k=1)) == ["more"]

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


def test_what_arrives_is_recommended_with_its_live_state(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        info = (await client.get("/model/info")).json()
        assert (info["items"], info["arrivals"], info["encoder"]) == (30, 0, encoder_of().digest)
        publish(served, new=33, later=34)
        await refresh(served)
        assert (await client.get("/model/info")).json()["arrivals"] == 2
        answer = (await client.get("/api/v1/recommend/u", params={"k": 40})).json()
        assert {"new", "later"} < set(ids(answer))
        assert next(item for item in answer["items"] if item["item_id"] == "new")["title"] == text_of(33).title
        candidates = {"user_id": "u", "candidates": ["new", "i1"]}
        assert set(ids((await client.post("/api/v1/recommend", json=candidates)).json())) == {"new", "i1"}
        in_sea = (await client.get("/api/v1/recommend/u", params={"k": 40, "categories": "sea"})).json()
        assert "new" in ids(in_sea)

        served.store.states = [state_of("new", text_of(33), hidden=True)]
        await served.parts.keeper.refresh_items()
        answer = (await client.get("/api/v1/recommend/u", params={"k": 40})).json()
        assert "new" not in ids(answer)
        assert "later" in ids(answer)

    run(served, use)


def test_a_like_of_what_arrived_counts_and_it_stays_away_then(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        publish(served, new=33)
        await refresh(served)
        served.store.histories["u"] = UserHistory("u", ["e"], ["new"], ["like"], [float("nan")], [1], ["new"])
        answer = (await client.get("/api/v1/recommend/u")).json()
        assert answer["fallback_reason"] is None
        assert "new" not in ids(answer)

    run(served, use)


def test_only_what_exists_has_a_text_and_whose_state_is_known_arrives(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        served.texts.embed(encoder_of(), {"unheard": text_of(5), "mute": Document()})
        publish(served, gone=6)
        served.store.states.append(state_of("mute", Document()))
        served.store.states.append(state_of("gone", text_of(6), hidden=True, deleted=True))
        await refresh(served)
        assert (await client.get("/model/info")).json()["arrivals"] == 0
        assert "gone" not in ids(await search(client, SEA, k=50, include_hidden=True))
        served.store.states.append(state_of("unheard", text_of(5)))
        _rested(served)
        await refresh(served)
        assert (await client.get("/model/info")).json()["arrivals"] == 1

    run(served, use)


def test_a_new_version_begins_without_arrivals_and_takes_them_in_again(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        publish(served, new=33)
        await refresh(served)
        registered = served.registry.registered
        assert registered is not None
        served.registry.folder = served.registry.folder.with_name("second")
        served.registry.publish(seed=2)
        await served.parts.keeper.look()
        assert (await client.get("/model/info")).json()["arrivals"] == 0
        assert "new" in ids(await search(client, SEA, k=50))
        _rested(served)
        await refresh(served)
        assert (await client.get("/model/info")).json()["arrivals"] == 1

    run(served, use)


def test_changed_texts_of_arrivals_are_taken_in_and_more_arrivals_keep_their_places(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        del client
        publish(served, new=33)
        await refresh(served)
        publish(served, later=34)
        _rested(served)
        await refresh(served)
        live = served.parts.current.live
        assert live is not None
        assert live.model.items.external(np.array([30, 31])) == ["new", "later"]
        publish(served, new=31)
        _rested(served)
        await refresh(served)
        changed = served.parts.current.live
        assert changed is not None
        assert changed.model is not live.model
        assert changed.n_arrivals == 2
        _rested(served)
        await refresh(served)
        assert served.parts.current.live is changed

    run(served, use)


def _rested(parts: Bench) -> None:
    """Let the next growth come at once."""
    parts.parts.keeper._grower._rests_until_s = 0.0


def test_growing_takes_a_tenth_of_the_time(served: Bench) -> None:
    times = iter([100.0, 103.0, 103.0, 104.0, 103.0 + 3 * REST_PER_WORK, 103.0 + 3 * REST_PER_WORK, 200.0])

    async def use(client: httpx.AsyncClient) -> list[bool]:
        del client
        publish(served, new=33)
        await served.parts.keeper.refresh_items()
        await served.parts.keeper.refresh_texts()
        grower = Grower(served.parts.current, clock_s=times.__next__)
        first = await grower.grow()
        publish(served, later=34)
        await served.parts.keeper.refresh_items()
        await served.parts.keeper.refresh_texts()
        return [first, await grower.grow(), await grower.grow()]

    assert run(served, use) == [True, False, True]
    assert not asyncio.run(Grower(Current()).grow())


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


def test_lists_are_mixed_as_the_server_is_set_unless_a_request_says(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        del client
        live = served.parts.current.live
        assert live is not None
        mixing = Mixing(fresh_share=0.2, diversity=0.1)
        for asked, wanted in ((None, 0.1), (0.0, 0.0), (0.7, 0.7)):
            options = options_of(Ask("u", diversity=asked), live, to_us(T0), mixing)
            assert (options.fresh_share, options.diversity) == (0.2, wanted)

    run(served, use)


def test_diversity_is_asked_for_by_request(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        assert len(ids((await client.get("/api/v1/recommend/u?diversity=0.5")).json())) == 20
        assert len(ids((await client.post("/api/v1/recommend", json={"diversity": 1})).json())) == 20
        assert (await client.get("/api/v1/recommend/u?diversity=1.5")).status_code == 422
        assert (await client.post("/api/v1/recommend", json={"diversity": -1})).status_code == 422

    run(served, use)
