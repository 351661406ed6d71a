"""A client of an app over parts in memory."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from tests.support.serving_parts import Bench

Use = Callable[[httpx.AsyncClient], Awaitable[Any]]


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
