"""Lists of some categories: by the states of items, and by the bundle's word while these were never read."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.items import Categories
from features.store import ItemState
from tests.support.serving_parts import Bench, bench
from tests.support.tiny_bundle import tiny_parts, write_parts
from training.bundle.versions import RegisteredVersion

N_ITEMS = 30
NAMES = ("even", "odd", "third")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app whose version has items i0, i1 and so on of categories, before it could read any state."""
    index = [[number % 2, *([2] if number % 3 == 0 else [])] for number in range(N_ITEMS)]
    offsets = np.cumsum([0, *map(len, index)])
    categories = Categories(NAMES, offsets, np.concatenate(index).astype(np.int32))
    with bench(tmp_path) as parts:
        digest = write_parts(parts.registry.folder, replace(tiny_parts(0, N_ITEMS), categories=categories), 0)
        parts.registry.registered = RegisteredVersion("1", digest, "run-1")
        parts.store.away = True
        yield parts


def listed(parts: Bench, *categories: str) -> dict[str, Any]:
    """Return the answer to somebody without an id who wants items of some categories."""

    async def inside() -> dict[str, Any]:
        async with parts.client() as client:
            answer = await client.post("/api/v1/recommend", json={"categories": [*categories], "k": N_ITEMS})
            return answer.json()  # type: ignore[no-any-return]

    return asyncio.run(inside())


def numbers(answer: dict[str, Any]) -> set[int]:
    return {int(item["item_id"][1:]) for item in answer["items"]}


def test_before_states_were_read_the_bundle_says_what_is_in_a_category(served: Bench) -> None:
    odd = listed(served, "odd")
    assert numbers(odd) == set(range(1, N_ITEMS, 2))
    assert (odd["degraded"], odd["fallback_reason"]) == (True, "item_states_unavailable")
    assert numbers(listed(served, "third", "odd")) == {n for n in range(N_ITEMS) if n % 2 or n % 3 == 0}
    assert numbers(listed(served, "unheard of")) == set()


def test_once_states_were_read_they_alone_say_it(served: Bench) -> None:
    served.store.away = False
    at = datetime(2026, 1, 1, tzinfo=UTC)
    served.store.states = [ItemState("i2", "", ("odd",), False, None, None, at)]  # noqa: FBT003  # not hidden
    odd = listed(served, "odd")
    assert numbers(odd) == {2}
    assert odd["degraded"] is False
