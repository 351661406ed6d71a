"""What is not there in time is left out, and the answer says so: a history that is held, a turn that does not come."""

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.contracts.profiles import UserHistory
from serving.deadline import LATEST, Deadline, LateError
from tests.support.serving_parts import Bench, bench

HURRIED = {"X-Deadline-Ms": "500"}
HAD = UserHistory("u", ["e1"], ["i3"], ["like"], [1.0], [1_700_000_000_000_000], ["i3", "i4"])


class Hand:
    """Monotonic seconds, turned by hand."""

    now_s = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app that serves a version and knows the user `u`."""
    with bench(tmp_path) as parts:
        parts.registry.publish()
        parts.store.histories["u"] = HAD
        yield parts


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


async def ask(client: httpx.AsyncClient, deadline_ms: int, **query: Any) -> dict[str, Any]:
    response = await client.get("/api/v1/recommend/u", params=query, headers={"X-Deadline-Ms": str(deadline_ms)})
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


def test_a_history_that_does_not_come_is_left_out_and_the_list_is_made(served: Bench) -> None:
    async def use() -> None:
        async with served.client() as client:
            served.store.held = asyncio.Event()
            # It is answered although the history never comes.
            answer = await ask(client, 1_000, k=30)
            assert (answer["degraded"], answer["fallback_reason"]) == (True, "profile_late")
            assert len(ids(answer)) == 30
            served.store.held.set()
            whole = await ask(client, 60_000, k=30)
            assert (whole["degraded"], len(ids(whole))) == (False, 28)

    asyncio.run(use())


async def while_others_have_their_turn(served: Bench, asked: Coroutine[Any, Any, httpx.Response]) -> dict[str, Any]:
    """Return the answer to a request that waits for others' lists until its deadline of half a second has passed."""
    async with served.turns.busy:
        answer = asyncio.create_task(asked)
        await asyncio.sleep(0.6)
        assert not answer.done()
    return (await answer).json()  # type: ignore[no-any-return]


def test_where_its_turn_comes_too_late_what_is_popular_comes_without_what_the_user_had(served: Bench) -> None:
    async def use() -> dict[str, Any]:
        async with served.client() as client:
            wish = client.get("/api/v1/recommend/u", params={"k": 10, "exclude": "i5"}, headers=HURRIED)
            return await while_others_have_their_turn(served, wish)

    answer = asyncio.run(use())
    assert (answer["degraded"], answer["fallback_reason"]) == (True, "list_late")
    assert not {"i3", "i4", "i5"} & set(ids(answer))
    assert len(set(ids(answer))) == 10
    assert {item["source"] for item in answer["items"]} == {"filler"}


def test_candidates_of_a_late_list_are_the_ones_given(served: Bench) -> None:
    async def use() -> dict[str, Any]:
        async with served.client() as client:
            body = {"user_id": "u", "candidates": ["i1", "i2", "i3", "nobody knows"]}
            wish = client.post("/api/v1/recommend", json=body, headers=HURRIED)
            return await while_others_have_their_turn(served, wish)

    answer = asyncio.run(use())
    assert answer["fallback_reason"] == "list_late"
    assert set(ids(answer)) == {"i1", "i2"}


@pytest.mark.parametrize("given", ["0", "60001", "soon", "-5", "1.5"])
def test_a_deadline_out_of_bounds_is_refused(served: Bench, given: str) -> None:
    async def use() -> httpx.Response:
        async with served.client() as client:
            return await client.get("/api/v1/recommend/u", headers={"X-Deadline-Ms": given})

    response = asyncio.run(use())
    assert response.status_code == 422
    assert "X-Deadline-Ms" in response.text


def test_steps_are_timed_and_late_by_their_share_of_the_deadline() -> None:
    hand = Hand()
    deadline = Deadline(1.0, hand)
    hand.now_s += 0.1
    assert deadline.lap("profile")
    hand.now_s += LATEST["retrieve"]
    assert not deadline.lap("retrieve")
    hand.now_s += 0.05
    deadline.lap("features")
    deadline.lap("features")
    assert deadline.took_s == pytest.approx({"profile": 0.1, "retrieve": 0.75, "features": 0.05})
    assert deadline.left_s("profile") == 0
    assert deadline.left_s("rank") == pytest.approx(0)


def test_a_branch_keeps_the_beginning_and_its_steps_come_back() -> None:
    hand = Hand()
    deadline = Deadline(1.0, hand)
    hand.now_s += 0.5
    branch = deadline.branch()
    hand.now_s += 0.3
    assert not branch.lap("begin")
    deadline.join(branch)
    hand.now_s += 0.1
    deadline.lap("explain")
    assert deadline.took_s == pytest.approx({"begin": 0.3, "explain": 0.1})


def test_what_fails_in_time_fails_as_it_is_and_what_fails_later_is_silent() -> None:
    async def failing() -> None:
        raise RuntimeError("as it is")

    async def use() -> None:
        with pytest.raises(RuntimeError, match="as it is"):
            await Deadline(60.0).wait_for("profile", failing)
        gate = asyncio.Event()

        async def later() -> None:
            await gate.wait()
            raise RuntimeError("nobody waits for this")

        with pytest.raises(LateError, match="profile"):
            await Deadline(0.01).wait_for("profile", later)
        gate.set()
        await asyncio.sleep(0)

    asyncio.run(use())
