"""A version that is served no more is let go of, however it was used."""

import asyncio
import gc
import os
import weakref
from pathlib import Path

import httpx

from serving.bundle_slot import Outcome
from tests.support.serving_parts import TOKEN, Bench, bench


def publish(served: Bench, seed: int) -> None:
    """Register another bundle under the number of its seed."""
    served.registry.folder = served.registry.folder.with_name(f"seed-{seed}")
    served.registry.publish(seed)


async def used(served: Bench) -> None:
    """Let the served version answer what it can be asked."""
    keeper = served.parts.keeper
    assert (await keeper.look()).outcome is Outcome.LOADED
    await keeper.refresh_items()
    await keeper.refresh_statistics()
    await keeper.refresh_texts()
    await keeper.grow()
    async with served.client() as client:
        liked = {"history": [{"item_id": "i3", "action": "like"}], "k": 5, "explain": True}
        assert (await client.post("/api/v1/recommend", json=liked)).status_code == 200
        for path in ("/api/v1/items/i1/similar", "/api/v1/onboarding"):
            assert (await client.get(path)).status_code == 200


def test_old_bundles_die_with_their_last_reference(tmp_path: Path) -> None:
    async def inside() -> list[str]:
        with bench(tmp_path) as served:
            dead: list[str] = []
            for seed in range(4):
                publish(served, seed)
                await used(served)
                live = served.parts.current.live
                assert live is not None
                name = f"seed {seed}"
                weakref.finalize(live.served.model, dead.append, name)
                weakref.finalize(live.model.parts.facts, dead.append, f"arrays of {name}")  # type: ignore[attr-defined]
                del live
            return list(dead)

    # No search for cycles is needed: what waits for one may wait for long.
    assert asyncio.run(inside()) == [word for seed in range(3) for word in (f"seed {seed}", f"arrays of seed {seed}")]


def test_a_list_that_was_recorded_holds_on_to_no_bundle(tmp_path: Path) -> None:
    async def inside() -> list[str]:
        with bench(tmp_path, record_share=1.0) as served:
            writer, dead = asyncio.create_task(served.records.run()), list[str]()
            publish(served, 0)
            await used(served)
            await asyncio.wait_for(served.served.kept.wait(), timeout=60.0)
            live = served.parts.current.live
            assert live is not None
            weakref.finalize(live.served.model, dead.append, "seed 0")
            del live
            publish(served, 1)
            assert (await served.parts.keeper.look()).outcome is Outcome.LOADED
            writer.cancel()
            return list(dead)

    assert asyncio.run(inside()) == ["seed 0"]


def test_a_swap_keeps_no_garbage_for_ever(tmp_path: Path) -> None:
    """Errors with their frames, parsers, closures: much of what requests leave behind refers to itself."""

    class Leaf:
        def __init__(self) -> None:
            self.itself = self

    async def inside() -> bool:
        with bench(tmp_path) as served:
            publish(served, 0)
            left = weakref.ref(Leaf())
            await used(served)
            gc.collect()
            return left() is None

    gc.disable()  # until the swap nobody searches
    try:
        assert asyncio.run(inside())
    finally:
        gc.enable()


def test_a_disk_that_takes_nothing_keeps_no_server_from_serving(tmp_path: Path) -> None:
    async def inside() -> None:
        with bench(tmp_path) as served:
            publish(served, 0)
            keeper = served.parts.keeper
            assert (await keeper.look()).outcome is Outcome.LOADED
            (tmp_path / "cache" / f"last_good.json.{os.getpid()}").mkdir()  # where notes are written first

            served.parts.current.live = keeper.slot.served = None
            await keeper.resume()
            assert served.parts.current.live is not None

            served.parts.current.live = keeper.slot.served = None
            transport = httpx.ASGITransport(served.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                reloaded = await client.post("/model/reload", headers={"Authorization": f"Bearer {TOKEN}"})
                assert (reloaded.status_code, reloaded.json()["version"]) == (200, "1")
                assert (await client.get("/api/v1/recommend/u")).status_code == 200

    asyncio.run(inside())
