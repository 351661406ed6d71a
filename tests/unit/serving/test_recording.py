"""Records of what was served: which requests, what they hold, and what becomes of them while Postgres is away."""

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.profiles import UserHistory
from features.db.connection import RefusedError
from features.served import ServedList
from serving.guard import Guard
from serving.metrics import Metrics
from serving.recording import Records, is_recorded
from tests.support.serving_parts import Bench, bench


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app that serves a version, knows the user `u`, and records all."""
    with bench(tmp_path, record_share=1) as parts:
        parts.registry.publish()
        parts.store.histories["u"] = UserHistory(
            "u", ["e1"], ["i3"], ["like"], [float("nan")], [1_700_000_000_000_000], ["i3", "i4"]
        )
        yield parts


def asked(parts: Bench, *bodies: dict[str, object]) -> list[dict[str, object]]:
    """Return answers, whose records are kept afterwards."""

    async def inside() -> list[dict[str, object]]:
        async with parts.client() as client:
            found = [(await client.post("/api/v1/recommend", json=body)).json() for body in bodies]
            await parts.records.flush()
            return found

    return asyncio.run(inside())


def count(metrics: Metrics, outcome: str) -> float:
    return metrics.registry.get_sample_value("marquee_records_total", {"outcome": outcome}) or 0.0


@given(st.text(min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_what_a_smaller_one_holds(identity: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert is_recorded(identity, low) <= is_recorded(identity, high)
    assert is_recorded(identity, low) == is_recorded(identity, low)
    assert is_recorded(identity, 1.0)
    assert not is_recorded(identity, 0.0)


def test_the_share_is_what_was_asked_for() -> None:
    ids = [str(uuid.UUID(int=number)) for number in range(4_000)]
    found = sum(is_recorded(one, 0.25) for one in ids)
    assert 900 < found < 1_100


def test_a_record_holds_request_inputs_list_candidates_and_timings(served: Bench) -> None:
    [answer] = asked(served, {"user_id": "u", "k": 5, "exclude": ["i9"], "context": {"page": "home"}})
    [record] = served.served.lists
    assert record.recommendation_id == answer["recommendation_id"]
    assert (record.user_id, record.model_version, record.history_event_ids) == ("u", "1", ["e1"])
    assert (record.request["k"], record.request["exclude"], record.request["context"]) == (5, ["i9"], {"page": "home"})
    assert record.item_ids == [item["item_id"] for item in answer["items"]]  # type: ignore[attr-defined]
    assert {"profile", "retrieve", "order"} <= set(record.took_s)
    assert record.origin is not None
    assert record.origin.bundle_digest == served.registry.registered.digest  # type: ignore[union-attr]
    assert np.flatnonzero(~record.origin.allowed).tolist() == [3, 4, 9]
    assert record.considered is not None
    assert record.considered.ordered_by == "blend"
    assert set(record.item_ids) <= set(record.considered.item_ids)
    assert "explanation" not in answer


def test_a_list_without_a_bundle_is_recorded_as_such(tmp_path: Path) -> None:
    with bench(tmp_path, record_share=1) as parts:
        parts.store.popular = ["a", "b"]
        asked(parts, {"user_id": "u"})
        [record] = parts.served.lists
    assert (record.item_ids, record.origin, record.considered) == (["a", "b"], None, None)
    assert list(record.lacking) == ["no_model"]


def test_what_cannot_be_kept_is_dropped_and_counted(served: Bench) -> None:
    async def inside() -> None:
        async with served.client() as client:
            for _ in range(5):  # of which three may wait
                assert (await client.post("/api/v1/recommend", json={})).status_code == 200
            assert count(served.parts.metrics, "dropped") == 2
            served.served.away = True
            await served.records.flush()

    asyncio.run(inside())
    assert count(served.parts.metrics, "dropped") == 5
    assert served.served.lists == []


@dataclass
class Picky:
    """Refuses batches with one user in them, as Postgres does for a value that it cannot hold."""

    lists: list[ServedList] = field(default_factory=list)

    async def add(self, lists: Sequence[ServedList]) -> int:
        """Keep lists."""
        if any(one.user_id == "odd" for one in lists):
            raise RefusedError("Postgres refuses it")
        self.lists.extend(lists)
        return len(lists)


def test_one_refused_record_does_not_take_the_others_with_it(served: Bench) -> None:
    metrics, picky = Metrics(), Picky()
    records = Records(picky, Guard("Postgres", timeout_s=5, rest_s=0), metrics, share=1)
    served.parts.pipeline._records = records

    async def inside() -> None:
        async with served.client() as client:
            for user in ("a", "odd", "b"):
                await client.get(f"/api/v1/recommend/{user}")
        await records.flush()

    asyncio.run(inside())
    assert [one.user_id for one in picky.lists] == ["a", "b"]
    assert (count(metrics, "kept"), count(metrics, "refused")) == (2, 1)


@dataclass
class Slow:
    """Keeps lists once it is told to."""

    lists: list[ServedList] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def add(self, lists: Sequence[ServedList]) -> int:
        """Keep lists."""
        self.asked.set()
        await self.goes_on.wait()
        self.lists.extend(lists)
        return len(lists)


async def ended_while_keeping(served: Bench, slow: Slow) -> Records:
    """Return records of which one was being kept, and one waited, when the server ended."""
    records = Records(slow, Guard("Postgres", timeout_s=60, rest_s=0), served.parts.metrics, share=1, limit=1)
    served.parts.pipeline._records = records
    writer = asyncio.create_task(records.run())
    async with served.client() as client:
        await client.get("/api/v1/recommend/a")
        await asyncio.wait_for(slow.asked.wait(), 60)
        await client.get("/api/v1/recommend/b")
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    return records


def test_records_under_way_when_the_server_ends_are_kept_with_the_last_ones(served: Bench) -> None:
    async def inside() -> Slow:
        slow = Slow()
        records = await ended_while_keeping(served, slow)
        slow.goes_on.set()
        await records.flush()
        return slow

    assert [one.user_id for one in asyncio.run(inside()).lists] == ["a", "b"]
    assert (count(served.parts.metrics, "kept"), count(served.parts.metrics, "dropped")) == (2, 0)


def test_records_that_there_is_no_time_for_when_the_server_ends_are_counted(served: Bench) -> None:
    async def inside() -> None:
        records = await ended_while_keeping(served, Slow())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(records.flush(), 0.1)

    asyncio.run(inside())
    assert (count(served.parts.metrics, "kept"), count(served.parts.metrics, "dropped")) == (0, 2)
