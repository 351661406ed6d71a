"""What moved an item's score, in words: contributions that add up, and answers that no ranker ordered say so."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.profiles import Options, UserHistory
from features.contracts.spec import Feature
from serving.contributions import ALIKE, MOVED_DOWN, STRONGEST, contributions_of, strongest
from serving.deadline import Deadline
from tests.support.serving_parts import TOKEN, Bench, bench
from tests.support.synthetic import trained_on_texts


def ask(parts: Bench, token: str | None = TOKEN, **body: Any) -> dict[str, Any]:
    """Return an explained answer, to the admin or to anyone."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def inside() -> dict[str, Any]:
        async with parts.client() as client:
            response = await client.post("/api/v1/recommend", json={"explain": True, **body}, headers=headers)
            assert response.status_code == 200, response.text
            return response.json()  # type: ignore[no-any-return]

    return asyncio.run(inside())


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Yield an app whose bundle has a ranker, and one of its own for items without a history; `u` likes one kind."""
    folder = tmp_path_factory.mktemp("ranked")
    with bench(folder) as parts:
        parts.registry.publish_trained()
        items = [f"i{number}" for number in (1, 5, 9, 13)]
        ago = [time.time_ns() // 1000 - step for step in range(4)]
        parts.store.histories["u"] = UserHistory("u", ["a", "b", "c", "d"], items, ["like"] * 4, [1.0] * 4, ago, items)
        yield parts


def test_what_a_ranker_ordered_tells_contributions_that_add_up(ranked: Bench) -> None:
    listed = ask(ranked, user_id="u", k=30)["items"]
    by = {item["explanation"]["ordered_by"] for item in listed}
    assert {"ranker", "fresh_ranker"} <= by
    for item in listed:
        why = item["explanation"]
        if why["ordered_by"] == "filler":
            assert why["contributions"] == []
            continue
        assert why["said"].startswith("Ordered by the ranker")
        if why["ordered_by"] == "ranker":
            assert why["ranker_score"] == pytest.approx(item["score"], abs=1e-5)
        for found in why["contributions"]:
            assert found["value"] == why["features"].get(found["name"])
            assert found["meaning"] in found["words"]
            assert found["words"].startswith("raises" if found["contribution"] > 0 else "lowers")


def test_an_item_that_reads_like_a_disliked_one_is_said_to_be_moved_down(ranked: Bench) -> None:
    history = [{"item_id": "i2", "action": "like"}, {"item_id": "i3", "action": "like"}]
    disliked = [*history, {"item_id": "i5", "action": "dislike"}]
    for events, said in ((history, 0), (disliked, 1)):
        items = ask(ranked, history=events, k=80)["items"]
        ranked_items = [item for item in items if item["explanation"]["features"]]
        near = [item["explanation"]["features"].get("text_disliked", 0.0) for item in ranked_items]
        told = [MOVED_DOWN in item["explanation"]["said"] for item in ranked_items]
        assert told == [one > np.median(near) + ALIKE for one in near]
        assert any(told) == bool(said)
        assert not all(told)


def test_without_the_token_nothing_of_the_users_data_is_told(ranked: Bench) -> None:
    open_to_all, told = ask(ranked, token=None, user_id="u", k=30), ask(ranked, user_id="u", k=30)
    assert list(open_to_all["explanation"]) == list(told["explanation"])
    assert open_to_all["explanation"]["history_event_ids"] is None
    assert told["explanation"]["history_event_ids"] == ["a", "b", "c", "d"]
    for listed, known in zip(open_to_all["items"], told["items"], strict=True):
        why, in_full = listed["explanation"], known["explanation"]
        assert why["features"] is None
        assert {**why, "features": 0, "contributions": 0} == {**in_full, "features": 0, "contributions": 0}
        for one, other in zip(why["contributions"], in_full["contributions"], strict=True):
            assert one == {**other, "value": None, "words": one["words"]}
            assert other["words"].startswith(f"{one['words']} is ")
    assert any(item["explanation"]["contributions"] for item in open_to_all["items"])


def test_an_anonymous_session_is_told_what_it_told(ranked: Bench) -> None:
    answer = ask(ranked, token=None, history=[{"item_id": "i5", "action": "like"}], k=3)
    assert len(answer["explanation"]["history_event_ids"]) == 1
    assert answer["items"][0]["explanation"]["features"]


def test_contributions_and_base_are_the_rankers_score_of_known_and_of_new_items(ranked: Bench) -> None:
    asyncio.run(ranked.parts.keeper.look())
    live = ranked.parts.current.live
    assert live is not None
    model, parts = live.model, trained_on_texts()[1]
    statistics = live.statistics.current
    profiles = model.encode([ranked.store.histories["u"]])
    found = model.recommend(profiles, statistics, time.time_ns() // 1000, Options(k=80), trace=True)
    [trace] = found.traces
    assert trace.unmet.any()
    assert not trace.unmet.all()
    with ThreadPoolExecutor(1) as executor:
        why = asyncio.run(contributions_of(live, found, Deadline(60), executor))
        late = asyncio.run(contributions_of(live, found, Deadline(0), executor))
    assert late == {}
    assert set(why) == set(trace.candidates.tolist())
    for place, item in enumerate(trace.candidates.tolist()):
        ranker = parts.fresh_ranker if trace.unmet[place] else parts.ranker
        assert ranker is not None
        assert why[item].sum() == pytest.approx(ranker.scores(trace.rows[place : place + 1])[0], abs=1e-9)


def test_what_was_not_there_in_time_is_left_out_and_said(ranked: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    left_s = Deadline.left_s
    monkeypatch.setattr(Deadline, "left_s", lambda self, step: 0.0 if step == "explain" else left_s(self, step))
    [item] = ask(ranked, user_id="u", k=1)["items"]
    assert item["explanation"]["contributions"] == []
    assert "X-Deadline-Ms" in item["explanation"]["said"]
    assert item["explanation"]["features"]


def test_a_list_that_ranks_ordered_says_so_instead(tmp_path: Path) -> None:
    with bench(tmp_path) as parts:
        parts.registry.publish()
        parts.store.histories["u"] = UserHistory("u", ["e1"], ["i3"], ["like"], [1.0], [1_700_000_000_000_000], ["i3"])
        blended = ask(parts, user_id="u", k=30)["items"]
        cold = ask(parts, k=3)["items"]
    assert blended[0]["explanation"]["ordered_by"] == "blend"
    assert "no feature counted" in blended[0]["explanation"]["said"]
    assert cold[0]["explanation"]["ordered_by"] == "popular"
    assert "popular alone" in cold[0]["explanation"]["said"]
    assert {item["explanation"]["contributions"] == [] for item in (*blended, *cold)} == {True}


@pytest.mark.parametrize(("kind", "order"), [("trending", "trend"), ("similar", "likeness")])
def test_lists_of_other_kinds_say_what_orders_them(ranked: Bench, kind: str, order: str) -> None:
    listed = ask(ranked, user_id="u", k=5, type=kind)["items"]
    assert {item["explanation"]["ordered_by"] for item in listed} == {order}
    assert all(item["explanation"]["said"].startswith("Ordered by") for item in listed)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40))
def test_the_strongest_of_each_sign_are_told_the_strongest_first(values: list[float]) -> None:
    features = [Feature(f"f{place}", "what it means", "unit", "history") for place in range(len(values))]
    found = strongest(features, np.zeros(len(values), np.float32), np.array(values))
    told = [entry["contribution"] for entry in found]
    assert [abs(value) for value in told] == sorted((abs(value) for value in told), reverse=True)
    for sign in (1, -1):
        of_sign = sorted((value * sign for value in values if value * sign > 0), reverse=True)
        assert sorted((value * sign for value in told if value * sign > 0), reverse=True) == of_sign[:STRONGEST]
