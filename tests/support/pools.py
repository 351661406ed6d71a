"""A pool of connections that has them: a busy machine may take longer to make one than a request waits for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from features.db.connection import AsyncPool, open_pool
from features.settings import Settings

T = TypeVar("T")

PATIENCE_S = 60.0


@asynccontextmanager
async def connected_pool(settings: Settings) -> AsyncIterator[AsyncPool]:
    """Yield a server's pool over a database that is there, once it has its first connections."""
    async with open_pool(settings) as pool:
        await pool.wait(PATIENCE_S)
        yield pool


def with_pool(settings: Settings, work: Callable[[AsyncPool], Awaitable[T]]) -> T:
    """Return what some work with such a pool gives, in an event loop of its own."""

    async def worked() -> T:
        async with connected_pool(settings) as pool:
            return await work(pool)

    return asyncio.run(worked())
