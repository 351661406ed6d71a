"""Places that a lot gives: told in answers and impressions, drawn anew for each list, and told by those alone."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from features.contracts.events import Impression
from tests.support.serving_parts import Bench, bench

ALL_NEW = {"fresh_share": 1.0, "k": 8}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Yield an app whose bundle knows items that nobody has met."""
    with bench(tmp_path_factory.mktemp("drawn")) as parts:
        parts.registry.publish_trained()
        yield parts


def lists(parts: Bench, count: int, **query: Any) -> list[dict[str, Any]]:
    """Return the lists of so many like requests, one after the other."""

    async def inside() -> list[dict[str, Any]]:
        found = []
        async with parts.client() as client:
            for _ in range(count):
                answer = await client.get("/api/v1/recommend/u", params=query)
                assert answer.status_code == 200, answer.text
                found.append(answer.json())
                await parts.impressions.flush()
        return found

    return asyncio.run(inside())


def test_each_list_is_drawn_anew_and_its_impression_tells_the_same(served: Bench) -> None:
    found = lists(served, 6, **ALL_NEW, fresh_draw=1.0)
    assert len({tuple(item["item_id"] for item in one["items"]) for one in found}) > 1
    told = {event.recommendation_id: event.items for event in served.sink.events if isinstance(event, Impression)}
    for one in found:
        drawn = [item for item in one["items"] if "propensity" in item]
        assert drawn
        for item in drawn:
            assert 0 < item["propensity"] <= 1
            assert item["reason"].startswith("New")
        chances = [item.get("propensity") for item in one["items"]]
        assert [shown.propensity for shown in told[one["recommendation_id"]]] == chances


@pytest.mark.parametrize("query", [{}, {"type": "trending"}, {"type": "similar", "item_id": "i3"}])
def test_what_is_not_drawn_tells_no_chance(served: Bench, query: dict[str, Any]) -> None:
    [one, again] = lists(served, 2, **query, fresh_draw=1.0)
    assert all("propensity" not in item for item in one["items"])
    assert one["items"] == again["items"]


def test_without_the_lot_the_best_stand_in_each_list(served: Bench) -> None:
    [one, again] = lists(served, 2, **ALL_NEW)
    assert one["items"] == again["items"]
    assert all("propensity" not in item for item in one["items"])


def test_an_explained_list_tells_what_was_drawn_as_new(served: Bench) -> None:
    [one] = lists(served, 1, **ALL_NEW, fresh_draw=1.0, explain=True)
    for item in one["items"]:
        if "propensity" in item:
            assert item["source"] != "filler"
            assert item["explanation"]["ordered_by"] != "filler"
