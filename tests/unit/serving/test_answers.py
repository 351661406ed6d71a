"""Lists that are given again: only while all that they were made from is the same, bounded, and made once for many."""

import asyncio
import gc
import math
import tracemalloc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.profiles import UserHistory
from features.store import ItemState
from serving.answers import Answers
from serving.asks import Ask
from serving.clock import now_us
from serving.digests import MOST_READS, PATIENCE_S, Digests
from serving.item_states import ItemStates
from serving.kept import Basis, Kept, KeptList
from serving.listed import Listed
from serving.metrics import Metrics
from tests.support.serving_parts import Bench, bench

T0 = datetime(2026, 1, 1, tzinfo=UTC)
LIKED = UserHistory("u", ["e1"], ["i3"], ["like"], [math.nan], [1_700_000_000_000_000], ["i3", "i4"], 1)
MORE = replace(
    LIKED,
    event_ids=["e2", "e1"],
    item_ids=["i9", "i3"],
    actions=["like", "like"],
    values=[math.nan, math.nan],
    at_us=[1_700_000_000_000_001, 1_700_000_000_000_000],
    seen_item_ids=["i3", "i4", "i9"],
    digest=2,
)
PATH = "/api/v1/recommend/u"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as parts:
        parts.registry.publish()
        parts.store.histories["u"] = LIKED
        yield parts


def counts(parts: Bench) -> dict[str, int]:
    """Return how lists came about so far."""
    samples = next(iter(parts.parts.metrics.lists.answers.collect())).samples
    return {one.labels["outcome"]: int(one.value) for one in samples if one.name.endswith("_total")}


def state(item_id: str, **more: Any) -> ItemState:
    known = {"title": "", "categories": (), "hidden": False, "expires_at": None, "published_at": None, "changed_at": T0}
    return ItemState(item_id, **{**known, **more})


async def listed(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def test_a_list_is_given_again_as_one_that_is_shown_anew(served: Bench) -> None:
    async def use() -> None:
        async with served.client() as client:
            first, again, other = await listed(client), await listed(client), await listed(client, k=3)
        assert again["items"] == first["items"]
        assert other["items"] == first["items"][:3]
        assert again["recommendation_id"] != first["recommendation_id"]
        assert counts(served) == {"made": 2, "reused": 1}
        await served.impressions.flush()

    asyncio.run(use())
    shown = [event.recommendation_id for event in served.sink.events]  # type: ignore[union-attr]
    assert len(set(shown)) == 3


def test_a_click_is_in_the_next_answer(served: Bench) -> None:
    async def use() -> None:
        async with served.client() as client:
            before = await listed(client, k=25)
            served.store.histories["u"] = MORE
            after = await listed(client, k=25)
        assert "i9" in {item["item_id"] for item in before["items"]}
        assert "i9" not in {item["item_id"] for item in after["items"]}
        assert counts(served) == {"made": 2}

    asyncio.run(use())


@pytest.mark.parametrize(
    ("changed", "query"),
    [
        ({"hidden": True}, {}),
        ({"expires_at": T0}, {}),
        ({"title": "Heat"}, {}),  # of an item in the list
        ({"categories": ("Drama",)}, {"categories": "Drama"}),
    ],
)
def test_what_is_said_of_an_item_is_in_the_next_answer(
    served: Bench, changed: dict[str, Any], query: dict[str, Any]
) -> None:
    async def use() -> None:
        async with served.client() as client:
            first = await listed(client, k=25, **query)
            item_id = first["items"][0]["item_id"] if first["items"] else "i1"
            served.store.states = [state(item_id, **changed)]
            await served.parts.keeper.refresh_items()
            assert (await listed(client, k=25, **query))["items"] != first["items"]
        assert counts(served) == {"made": 2}

    asyncio.run(use())


def test_what_is_said_of_items_that_no_list_speaks_of_leaves_lists_as_they_are(served: Bench) -> None:
    async def use() -> None:
        async with served.client() as client:
            first = await listed(client, k=2)
            others = {f"i{number}" for number in range(30)} - {item["item_id"] for item in first["items"]}
            said = [state(item_id, title="another", categories=("Drama",)) for item_id in others - set(LIKED.item_ids)]
            served.store.states = said
            await served.parts.keeper.refresh_items()
            assert (await listed(client, k=2))["items"] == first["items"]
        assert counts(served) == {"made": 1, "reused": 1}

    asyncio.run(use())


def test_statistics_and_versions_end_what_was_made_from_them(served: Bench) -> None:
    async def use() -> None:
        async with served.client() as client:
            await listed(client)
            live = served.parts.current.live
            assert live is not None
            live.statistics.current = replace(live.statistics.current)
            await listed(client)
            assert counts(served) == {"made": 2}
            made = weakref.ref(live.kept)
            del live
            served.parts.keeper.slot.served = None
            assert (await served.parts.keeper.look(insist=True)).served is not None
            gc.collect()
            assert made() is None, "what a version made goes with it"
            await listed(client)
            assert counts(served) == {"made": 3}

    asyncio.run(use())


@pytest.mark.parametrize("what", ["hidden", "statistics"])
def test_a_list_that_waited_for_its_turn_while_something_changed_is_not_given_again(served: Bench, what: str) -> None:
    async def use() -> None:
        async with served.client() as client:
            live = served.parts.current.live
            assert live is not None
            top = (await listed(client, k=1))["items"][0]["item_id"]
            async with served.turns.busy:
                under_way = asyncio.create_task(listed(client, k=5))
                while not served.turns._waiting:  # noqa: ASYNC110  # nothing tells of it
                    await asyncio.sleep(0)
                if what == "hidden":
                    served.store.states = [state(top, hidden=True)]
                    await served.parts.keeper.refresh_items()
                else:
                    live.statistics.current = replace(live.statistics.current)
            before = {item["item_id"] for item in (await under_way)["items"]}
            after = [{item["item_id"] for item in (await listed(client, k=5))["items"]} for _ in range(2)]
        assert top in before, "it was under way already"
        assert [top in ids for ids in after] == [what != "hidden"] * 2
        assert counts(served) == {"made": 3, "reused": 1}

    asyncio.run(use())


def test_kept_lists_hold_on_to_no_earlier_statistics_and_masks(served: Bench) -> None:
    async def use() -> None:
        seen: list[weakref.ref[Any]] = []
        async with served.client() as client:
            live = served.parts.current.live
            assert live is not None
            for number in range(4):
                live.statistics.current = replace(live.statistics.current)
                changed_at = T0 + timedelta(seconds=number)
                served.store.states = [state("i1", hidden=number % 2 == 0, changed_at=changed_at)]
                await served.parts.keeper.refresh_items()
                assert (await client.get(f"/api/v1/recommend/user{number}")).status_code == 200
                seen += [weakref.ref(live.statistics.current), weakref.ref(live.items.visible(now_us()))]
        assert len(live.kept) == 4
        gc.collect()
        # The recommender has its views of the latest two statistics.
        assert [one() is not None for one in seen] == [False, False, False, False, True, False, True, True]

    asyncio.run(use())


def test_without_postgres_nothing_is_called_unchanged(served: Bench) -> None:
    async def use() -> None:
        async with served.client() as client:
            await listed(client)
            served.store.away = True
            answer = await listed(client)
            assert (answer["degraded"], answer["fallback_reason"]) == (True, "profile_unavailable")
            served.store.away = False
            assert not (await listed(client))["degraded"]
        assert counts(served) == {"made": 1, "reused": 1}

    asyncio.run(use())


def test_what_is_asked_for_at_the_same_time_is_made_once(served: Bench) -> None:
    async def use() -> None:
        async with served.client() as client:
            answers = await asyncio.gather(*(listed(client) for _ in range(8)))
        assert len({str(answer["items"]) for answer in answers}) == 1
        assert len({answer["recommendation_id"] for answer in answers}) == 8
        assert counts(served) == {"made": 1, "joined": 7}

    asyncio.run(use())


def test_what_explains_or_brings_its_own_history_is_made_for_itself(served: Bench) -> None:
    async def use() -> None:
        async with served.client() as client:
            for _ in range(2):
                await listed(client, explain=True)
                await client.post("/api/v1/recommend", json={"user_id": "u", "history": [{"item_id": "i5"}]})

    asyncio.run(use())
    assert counts(served) == {}


def test_who_has_the_list_gets_no_body_but_a_recommendation_id(served: Bench) -> None:
    async def use() -> None:
        async with served.client() as client:
            first = await client.get(PATH)
            tag = first.headers["etag"]
            again = await client.get(PATH, headers={"If-None-Match": f'"other", {tag}'})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
            assert again.headers["x-recommendation-id"] != first.headers["x-recommendation-id"]
            assert first.headers["x-recommendation-id"] == first.json()["recommendation_id"]
            served.store.histories["u"] = MORE
            changed = await client.get(PATH, headers={"If-None-Match": tag})
            assert changed.status_code == 200
            assert changed.headers["etag"] != tag

    asyncio.run(use())


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5_000)), max_size=40), st.integers(0, 20_000))
def test_kept_lists_never_take_more_than_they_may(puts: list[tuple[int, int]], limit: int) -> None:
    kept, basis = Kept(), Basis((), ItemStates())
    newest: dict[int, KeptList] = {}
    for key, size in puts:
        newest[key] = KeptList(Listed(b"x" * size, [], None, False, None), basis, None)  # noqa: FBT003  # not degraded
        kept.put(key, newest[key], limit)
        assert kept.size_bytes <= limit
        if newest[key].size_bytes <= limit:
            assert kept.find(key, basis) is newest[key]
    found = [made for key in newest if (made := kept.find(key, basis)) is not None]
    assert kept.size_bytes == sum(made.size_bytes for made in found)
    assert len(kept) == len(found)


WISHES = st.lists(st.text(max_size=3), max_size=3)


@given(WISHES, WISHES, WISHES, WISHES)
def test_only_the_same_wishes_have_the_same_key(
    exclude: list[str], categories: list[str], others: list[str], candidates: list[str]
) -> None:
    answers = Answers(1, Metrics())
    one = Ask("u", exclude=exclude, categories=categories)
    other = Ask("u", exclude=others, categories=candidates)
    assert answers.key_of(one) == answers.key_of(replace(one, experiment_id="e", deadline_s=1.0))
    assert (answers.key_of(one) == answers.key_of(other)) == (one == other)
    assert answers.key_of(replace(one, candidates=candidates)) != answers.key_of(one)


@pytest.mark.parametrize(("number", "excluded"), [(200, 1), (40, 1000)])
def test_kept_lists_take_no_more_memory_than_is_said_of_them(served: Bench, number: int, excluded: int) -> None:
    async def use() -> None:
        async with served.client() as client:
            live = served.parts.current.live
            assert live is not None

            async def ask(name: str) -> None:
                exclude = [f"{name}-{place}".ljust(253, "x") for place in range(excluded)]
                answer = await client.post("/api/v1/recommend", json={"k": 1, "exclude": exclude})
                assert answer.status_code == 200

            for warming in range(20):
                await ask(f"warm{warming}")
            gc.collect()
            tracemalloc.start()
            said = live.kept.size_bytes
            for place in range(number):
                await ask(f"x{place}")
            gc.collect()
            took, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert len(live.kept) == 20 + number
        assert took < live.kept.size_bytes - said

    asyncio.run(use())


def test_an_answer_about_a_history_is_never_older_than_the_question() -> None:
    async def use() -> None:
        asked: list[list[str]] = []
        present = {"u": 1}
        go_on = asyncio.Event()

        async def read(user_ids: Any) -> dict[str, int]:
            asked.append(list(user_ids))
            seen = dict(present)
            await go_on.wait()
            return seen

        digests = Digests(read)
        first = asyncio.create_task(digests.of("u"))
        await asyncio.sleep(0.01)
        present["u"] = 2
        second, third = asyncio.create_task(digests.of("u")), asyncio.create_task(digests.of("v"))
        await asyncio.sleep(0.01)
        go_on.set()
        assert [await first, await second, await third] == [1, 2, None]
        assert asked == [["u"], ["u", "v"]]

    asyncio.run(use())


def test_a_comparison_that_hangs_leaves_time_to_read_the_history(
    served: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use() -> list[dict[str, Any]]:
        async with served.client() as client:
            kept = (await client.get(PATH)).json()
            thawed = asyncio.Event()

            async def hung(*_: object) -> dict[str, int]:
                await thawed.wait()
                return {}

            monkeypatch.setattr(served.store, "history_digests", hung)
            made = (await client.get(PATH, headers={"X-Deadline-Ms": "2000"})).json()
            thawed.set()
            return [kept, made]

    kept, made = asyncio.run(use())
    assert [one["fallback_reason"] for one in (kept, made)] == [None, None]
    assert [item["item_id"] for item in made["items"]] == [item["item_id"] for item in kept["items"]]


def test_comparisons_that_hang_hold_up_no_others() -> None:
    async def use() -> None:
        begun: asyncio.Queue[list[str]] = asyncio.Queue()
        thawed = asyncio.Event()

        async def read(user_ids: Any) -> dict[str, int]:
            begun.put_nowait(list(user_ids))
            if user_ids[0].startswith("hung"):
                await thawed.wait()
            return dict.fromkeys(user_ids, 1)

        digests, hung = Digests(read), []
        async with asyncio.timeout(30):
            for number in range(1, MOST_READS):
                hung.append(asyncio.create_task(digests.of(f"hung {number}")))
                assert await begun.get() == [f"hung {number}"]
                assert [await digests.of(user) for user in ("u", "v")] == [1, 1]
                assert [await begun.get() for _ in range(2)] == [["u"], ["v"]]
            hung.append(asyncio.create_task(digests.of("hung for good")))
            assert await begun.get() == ["hung for good"]
            late = asyncio.create_task(digests.of("w"))
            await asyncio.sleep(3 * PATIENCE_S)
            assert begun.empty(), "more are under way than may be"
            thawed.set()
            assert [await answer for answer in (late, *hung)] == [1] * (MOST_READS + 1)
            assert await digests.of("u") == 1

    asyncio.run(use())


def test_masks_stay_the_same_object_while_they_say_the_same() -> None:
    states = ItemStates()
    states.apply([state("a"), state("b")], T0)
    before, grouping = states.visible(0), states.grouping
    states.apply([state("a", title="new", changed_at=T0 + timedelta(seconds=1))], T0)
    assert states.visible(0) is before
    assert states.grouping is grouping
    states.apply([state("a", hidden=True, categories=("x",), changed_at=T0 + timedelta(seconds=2))], T0)
    assert states.visible(0) is not before
    assert states.grouping is not grouping
