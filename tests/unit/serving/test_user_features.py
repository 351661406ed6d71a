"""Features of a user: by name and meaning, honest where nothing is known or something is away."""

import asyncio
import math
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from features.contracts.profiles import UserHistory
from features.vectorize import USER_FEATURES
from serving.user_features import LATEST
from tests.support.serving_parts import TOKEN, Bench, bench

NOW_US = time.time_ns() // 1000
ADMIN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app that serves a version and knows a user with thirty events."""
    with bench(tmp_path) as parts:
        parts.registry.publish()
        numbers = range(30)
        items = [f"i{number}" for number in numbers]
        at_us = [NOW_US - 3_600_000_000 * (1 + number) for number in numbers]
        values = [4.5, *[math.nan] * 29]
        actions = ["rating", *["like"] * 9, *["view"] * 20]
        parts.store.histories["some/one"] = UserHistory(
            "some/one", [f"e{n}" for n in numbers], items, actions, values, at_us, [*items, "long ago"]
        )
        yield parts


def get(parts: Bench, user_id: str, *, model: bool = True) -> httpx.Response:
    async def inside() -> httpx.Response:
        if model:
            await parts.parts.keeper.look()
        transport = httpx.ASGITransport(parts.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://app", headers=ADMIN) as client:
            return await client.get(f"/api/v1/features/{user_id}")

    return asyncio.run(inside())


def test_features_have_name_meaning_unit_and_value_and_say_of_which_version_they_are(served: Bench) -> None:
    answer = get(served, "some/one").json()
    assert [(f["name"], f["meaning"], f["unit"]) for f in answer["features"]] == [
        (feature.name, feature.meaning, feature.unit) for feature in USER_FEATURES
    ]
    values = {feature["name"]: feature["value"] for feature in answer["features"]}
    assert values["user_events"] == 30
    assert values["user_liked"] > 0
    assert values["user_breadth"] is None  # no item of this bundle has a category
    live = served.parts.current.live
    assert live is not None
    assert (answer["spec_hash"], answer["model_version"]) == (live.model.manifest.spec_hash, "1")
    assert answer["as_of_us"] >= NOW_US
    assert answer["statistics_closed_at_us"] == live.statistics.current.closed_at_us


def test_the_history_is_summed_up_and_its_latest_events_are_told(served: Bench) -> None:
    history = get(served, "some/one").json()["history"]
    assert (history["events"], history["items_seen"]) == (30, 31)
    assert history["by_action"] == {"rating": 1, "like": 9, "view": 20}
    assert history["first_at"] < history["last_at"]
    assert len(history["latest"]) == LATEST
    first, second, *_ = history["latest"]
    assert (first["event_id"], first["item_id"], first["value"], first["at"]) == ("e0", "i0", 4.5, history["last_at"])
    assert (second["action"], second["value"]) == ("like", None)


def test_of_an_unknown_user_it_says_that_nothing_is_known(served: Bench) -> None:
    response = get(served, "nobody")
    answer = response.json()
    assert response.status_code == 200
    assert answer["known"] is False
    assert answer["history"] == {
        "events": 0,
        "by_action": {},
        "items_seen": 0,
        "first_at": None,
        "last_at": None,
        "latest": [],
    }
    values = {feature["name"]: feature["value"] for feature in answer["features"]}
    assert values["user_events"] == 0
    assert values["user_idle"] is None


def test_without_a_version_there_is_the_history_and_no_feature(served: Bench) -> None:
    answer = get(served, "some/one", model=False).json()
    assert (answer["spec_hash"], answer["features"], answer["history"]["events"]) == (None, [], 30)


def test_while_postgres_is_away_it_asks_to_come_again(served: Bench) -> None:
    async def inside() -> list[httpx.Response]:
        async with served.client() as client:
            served.store.away = True
            return [
                await client.get("/api/v1/features/u", headers=ADMIN),
                await client.post("/api/v1/features/u/refresh", headers=ADMIN),
            ]

    for response in asyncio.run(inside()):
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
