"""Items that come while a version serves: the app over texts in memory."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from features.contracts.ids import MISSING
from features.contracts.profiles import UserHistory
from features.text.documents import Document
from serving.explain import FILLER, UNMET, list_items
from serving.growing import REST_PER_WORK, Grower
from serving.live import Current
from tests.support.serving_parts import Bench
from tests.support.serving_texts import encoder_of, state_of, text_of
from tests.support.texts_bench import SEA, bench_of_texts, ids, publish, refresh, run, search
from training.bundle.result import Recommendations
from training.bundle.sources import FRESH


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app whose bundle knows the texts of its items."""
    with bench_of_texts(tmp_path) as parts:
        yield parts


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


def test_it_is_said_that_nobody_acted_on_an_item_only_while_nobody_did(served: Bench) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        del client
        live = served.parts.current.live
        assert live is not None
        by_text, statistics = live.model.source_names.index(FRESH), live.statistics
        answer = Recommendations(
            items=np.array([[3, 4]], dtype=np.int32),
            scores=np.ones((1, 2), dtype=np.float32),
            sources=np.array([[by_text, MISSING]], dtype=np.int8),
            because=np.full((1, 2), MISSING, dtype=np.int32),
            fallback_reason=(None,),
        )
        met = ("New, and promises to be to your taste", "Popular with everyone")
        for acts, reasons in ((0, (UNMET[FRESH], UNMET[FILLER])), (50, met)):
            statistics.current = replace(statistics.current, seen=np.full(30, acts))
            told = [
                (item["item_id"], item["source"], item["reason"]) for item in list_items(live, answer, explain=False)
            ]
            assert told == [("i3", FRESH, reasons[0]), ("i4", FILLER, reasons[1])]

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


def test_growing_takes_a_tenth_of_a_core_however_long_it_waited_for_one(served: Bench) -> None:
    times = iter([100.0, 180.0, 181.0, 180.0 + 3 * REST_PER_WORK, 300.0])
    # What a growth has done in threads: reads, grows, has its statistics and is made warm.
    worked = iter([0.0, 1.0, 0.0, 1.0, 0.0, 0.5, 0.0, 0.5, *[0.0] * 8])

    async def use(client: httpx.AsyncClient) -> list[bool]:
        del client
        publish(served, new=33)
        await served.parts.keeper.refresh_items()
        await served.parts.keeper.refresh_texts()
        grower = Grower(served.parts.current, clock_s=times.__next__, processor_s=worked.__next__)
        first = await grower.grow()
        publish(served, later=34)
        await served.parts.keeper.refresh_items()
        await served.parts.keeper.refresh_texts()
        return [first, await grower.grow(), await grower.grow()]

    assert run(served, use) == [True, False, True]
    assert not asyncio.run(Grower(Current()).grow())
