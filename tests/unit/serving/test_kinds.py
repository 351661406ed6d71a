"""Kinds of lists: similar, trending and new ones, and which actions make an item one that was seen."""

import asyncio
import math
from collections.abc import Iterator
from dataclasses import replace as replaced
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from msgspec.structs import replace

from features.contracts.profiles import UserHistory
from features.contracts.statistics import DAY_US
from features.text.documents import Document
from serving.newest import Appearances
from serving.seams import Model
from tests.support.serving_parts import Bench, bench
from tests.support.serving_texts import T0, state_of
from tests.support.tiny_bundle import CLOSED_AT_US
from training.bundle import likeness
from training.bundle.read import open_bundle
from training.bundle.tables import NeighbourTable

US = 1_700_000_000_000_000
HISTORY = UserHistory(
    "u", ["e2", "e1"], ["i3", "i5"], ["like", "view"], [math.nan, math.nan], [US, US - 1], ["i3", "i4", "i5"]
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app that serves a version, knows the user `u` and some items, of which three are in no bundle."""
    with bench(tmp_path) as parts:
        parts.registry.publish()
        parts.store.histories["u"] = HISTORY
        young = {"i7": 1, "later": 3, "young": 2, "hidden": 4}
        parts.store.states = [
            state_of(item_id, Document(f"Title {item_id}", "", ("x",)), created_at=T0 + timedelta(days=days))
            for item_id, days in young.items()
        ]
        parts.store.states[1] = replace(parts.store.states[1], published_at=T0 + timedelta(days=10_000))
        parts.store.states[3] = replace(parts.store.states[3], hidden=True)
        yield parts


def ask(parts: Bench, user_id: str = "u", **query: Any) -> dict[str, Any]:
    async def use() -> httpx.Response:
        async with parts.client() as client:
            return await client.get(f"/api/v1/recommend/{user_id}", params=query)

    response = asyncio.run(use())
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_new_items_come_newest_first_whether_a_bundle_knows_them_or_not(served: Bench) -> None:
    answer = ask(served, type="new", k=4)
    assert ids(answer)[:2] == ["young", "i7"]
    assert [(item["source"], item["reason"]) for item in answer["items"][:2]] == [("new", "New in the catalogue")] * 2
    assert answer["items"][0]["title"] == "Title young"
    assert answer["items"][2]["source"] == "filler"
    assert (answer["model_version"], answer["degraded"]) == ("1", False)
    assert ids(ask(served, type="new", categories="x")) == ["young", "i7"]
    assert ids(ask(served, type="new", categories="x", exclude="young")) == ["i7"]
    explained = [item["explanation"]["ordered_by"] for item in ask(served, type="new", k=4, explain=True)["items"]]
    assert explained == ["new"] * 4


def test_new_items_need_no_model(served: Bench) -> None:
    served.registry.registered = None
    asyncio.run(served.parts.keeper.refresh_items())
    answer = ask(served, type="new", k=4)
    assert (ids(answer), answer["fallback_reason"]) == (["young", "i7"], "no_model")
    served.store.away = True
    assert ids(ask(served, type="new", k=4)) == ["young", "i7"]


def test_an_item_of_which_nothing_is_told_is_not_new(served: Bench) -> None:
    served.store.states[2] = replace(served.store.states[2], title="", categories=(), told=False)
    asyncio.run(served.parts.keeper.refresh_items())
    assert "young" not in ids(ask(served, type="new", k=4))


def test_without_states_of_items_what_is_new_is_not_known_and_said(served: Bench) -> None:
    served.store.away = True
    answer = ask(served, type="new", k=4)
    assert len(ids(answer)) == 4
    assert (answer["degraded"], answer["fallback_reason"]) == (True, "profile_unavailable")
    assert "new" not in {item["source"] for item in answer["items"]}


def test_similar_items_are_of_the_item_or_else_of_the_latest_liked_one(served: Bench) -> None:
    of_liked, of_item = ask(served, type="similar", k=5), ask(served, type="similar", item_id="i7", k=5)
    assert {item["reason"] for item in of_liked["items"]} <= {"Similar to i3", "Reads like i3"}
    assert {item["reason"] for item in of_item["items"]} <= {"Similar to Title i7", "Reads like Title i7"}
    assert not {"i3", "i4", "i5"} & {*ids(of_liked), *ids(of_item)}
    assert "i7" not in ids(of_item)
    assert {item["source"] for item in of_liked["items"]} <= {"similar", "content"}
    assert ids(of_item) != ids(ask(served, "stranger", type="similar", item_id="i7", k=5))
    explained = ask(served, type="similar", k=2, explain=True)
    assert all(item["explanation"]["ranks"] for item in explained["items"])


def without_nearest_texts(path: Path, digest: str) -> Model:
    """Open a bundle that holds no neighbours by text, as filters may leave none of them."""
    bundle = open_bundle(path, digest)
    tables = {**bundle.parts.tables, "content": NeighbourTable.none(len(bundle.items))}
    return replaced(bundle, parts=replaced(bundle.parts, tables=tables))


@pytest.mark.parametrize("at_once", [0, 5_000])
def test_lists_compare_few_texts_or_none_and_as_many_items_come_as_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(likeness, "SOON_LOOKED_THROUGH", at_once)
    with bench(tmp_path, without_nearest_texts) as parts:
        parts.registry.publish_trained()
        everything = ask(parts, "stranger", type="similar", item_id="i1", k=500)
        assert len(ids(everything)) == len(set(ids(everything))) == 79
        assert ("content" in {item["source"] for item in everything["items"]}) == (at_once > 0)
        for left in (3, 20, 60):
            nearest, others = ids(everything)[:-left], ids(everything)[-left:]
            answer = ask(parts, "stranger", type="similar", item_id="i1", k=60, exclude=",".join(nearest))
            assert sorted(ids(answer)) == sorted(others)


def test_similar_to_nothing_is_the_feed_and_said(served: Bench) -> None:
    unknown = ask(served, type="similar", item_id="nobody knows it", k=5)
    assert (ids(unknown), unknown["fallback_reason"]) == (ids(ask(served, k=5)), "item_unknown")
    assert unknown["degraded"] is False
    stranger = ask(served, "stranger", type="similar", k=5)
    assert (ids(stranger), stranger["fallback_reason"]) == (ids(ask(served, "stranger", k=5)), "no_history")


def test_trends_are_what_the_statistics_say(served: Bench) -> None:
    answer = ask(served, "stranger", type="trending", k=3)
    live = served.parts.current.live
    assert live is not None
    assert live.statistics.current.closed_at_us - CLOSED_AT_US < DAY_US
    rate = live.statistics.current.decayed[:, 2]
    best = live.model.items.external(np.argsort(-rate, kind="stable")[:3])
    assert ids(answer) == list(best)
    assert {(item["source"], item["reason"]) for item in answer["items"]} == {("trend_1d", "Trending today")}
    assert best[0] not in ids(ask(served, "stranger", type="trending", k=3, exclude=best[0]))
    everything = ask(served, type="trending", k=30)
    assert not {"i3", "i4", "i5"} & set(ids(everything))
    assert everything["items"][-1]["source"] == "new"


def test_seen_is_what_some_actions_say_where_a_request_names_them(served: Bench) -> None:
    assert not {"i3", "i4", "i5"} & set(ids(ask(served, k=30)))
    liked = set(ids(ask(served, k=40, seen_actions="like")))
    assert {"i4", "i5"} <= liked
    assert "i3" not in liked
    assert not {"i3", "i5"} & set(ids(ask(served, k=40, seen_actions="like,view")))
    assert "i3" in ids(ask(served, k=40, seen_actions="like", include_seen=True))


def test_a_callers_candidates_are_ranked_whatever_is_among_them(served: Bench) -> None:
    async def use(**body: Any) -> list[str]:
        async with served.client() as client:
            response = await client.post("/api/v1/recommend", json={"user_id": "u", "k": 500, **body})
            return ids(response.json())

    mixed = ["young", "i7", "i9", "i9", "hidden", "later", "i3", "nobody knows it", "i8"]
    for kind in ("feed", "similar", "trending", "new"):
        found = asyncio.run(use(candidates=mixed, type=kind))
        assert sorted(found) == ["i7", "i8", "i9", "young"]
        assert (found[0] if kind == "new" else found[-1]) == "young"
    assert asyncio.run(use(candidates=mixed, k=2))[:2] != ["young"]
    assert asyncio.run(use(candidates=["nobody knows it"])) == []


def test_appearances_stay_in_order_while_items_come_and_change() -> None:
    rng, at_us, found = np.random.default_rng(0), dict[int, int](), Appearances()
    for _ in range(50):
        for row in rng.integers(0, 3000, size=40).tolist():
            at_us[row] = int(rng.integers(1_000_000_000))
            found.note(row, at_us[row])
        assert found.newest_first().tolist() == sorted(at_us, key=lambda row: -at_us[row])
