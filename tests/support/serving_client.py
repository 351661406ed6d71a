"""A client of an app over parts in memory."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from features.contracts.profiles import UserHistory
from tests.support.serving_parts import Bench, bench

Use = Callable[[httpx.AsyncClient], Awaitable[Any]]
LIKED = UserHistory("u", ["e1"], ["i3"], ["like"], [math.nan], [1_700_000_000_000_000], ["i3", "i4"])


@contextmanager
def bench_of_user(folder: Path) -> Iterator[Bench]:
    """Yield an app that serves a version and knows the user `u`."""
    with bench(folder) as parts:
        parts.registry.publish()
        parts.store.histories["u"] = LIKED
        yield parts


def run(parts: Bench, use: Use) -> Any:
    """Return what `use` returns for a client of the app."""

    async def inside() -> Any:
        async with parts.client() as client:
            return await use(client)

    return asyncio.run(inside())


def get(parts: Bench, path: str, **query: Any) -> httpx.Response:
    """Return the answer to a GET."""
    return run(parts, lambda client: client.get(path, params=query))  # type: ignore[no-any-return]


def post(parts: Bench, path: str, body: Any, **headers: str) -> httpx.Response:
    """Return the answer to a POST of JSON."""
    return run(parts, lambda client: client.post(path, json=body, headers=headers))  # type: ignore[no-any-return]
