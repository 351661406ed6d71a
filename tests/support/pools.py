"""A pool of connections that has them: a busy machine may take longer to make one than a request waits for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from features.db.connection import AsyncPool, open_pool
from features.settings import Settings

PATIENCE_S = 60.0


@asynccontextmanager
async def connected_pool(settings: Settings) -> AsyncIterator[AsyncPool]:
    """Yield a server's pool over a database that is there, once it has its first connections."""
    async with open_pool(settings) as pool:
        await pool.wait(PATIENCE_S)
        yield pool
