"""What serving reads of Postgres: typed, one query each, errors already ours."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final

import msgspec
import numpy as np
from psycopg import AsyncConnection, AsyncCursor

from features.contracts.profiles import HISTORY_LIMIT, UserHistory
from features.contracts.statistics import NEVER_US, StatisticsRows, StatisticsState
from features.contracts.times import from_us, to_us
from features.db.connection import AsyncPool, database_errors
from features.db.prepared import PreparedRead, array_literal
from features.db.queries import async_queries
from features.db.statistics_rows import state_of_rows

OVERLAP: Final = timedelta(seconds=60)
"""Changes of items are committed in the order of their times (`_DATED` in `features/landing/write.py`): reading again
from a little earlier is for a clock that was set back."""

_EPOCH_US: Final = to_us(datetime(2000, 1, 1, tzinfo=UTC))
"""From which Postgres counts."""

PART: Final = 200
"""Rows of all items that are decoded at once, 1 to 2 ms of the event loop: lists are made between them."""


class ItemState(msgspec.Struct, frozen=True, gc=False):
    """What rules need to know of an item now.

    A server holds one of every item. None refers to anything that refers back: no search for garbage need come by.
    """

    item_id: str
    title: str
    categories: tuple[str, ...]
    hidden: bool
    expires_at: datetime | None
    published_at: datetime | None
    changed_at: datetime
    deleted: bool = False
    created_at: datetime | None = None
    told: bool = True
    """Whether anything is known of it that a person could read: what is new is not shown without."""

    @property
    def appeared_at(self) -> datetime:
        """Return since when the item is there to be shown: its publication, else when it first came."""
        return self.published_at or self.created_at or self.changed_at


def history_of(user_id: str, row: Sequence[Any] | None) -> UserHistory:
    """Return a history from what the query `user_history` gives; empty for users never seen.

    Where retention has taken all events, the set of seen items is still there.
    """
    if row is None:
        return UserHistory(user_id)
    event_ids, item_ids, actions, values, at, seen, digest = row
    if event_ids is None:
        return UserHistory(user_id, seen_item_ids=seen or ())
    at_us = np.frombuffer(at, ">i8") + _EPOCH_US
    return UserHistory(
        user_id, event_ids, item_ids, actions, np.frombuffer(values, ">f8").tolist(), at_us.tolist(), seen or (), digest
    )


class Store:
    """Typed readers over the async pool.

    Parameters
    ----------
    pool
        From `features.db.connection.open_pool`, opened in the event loop that uses the store.

    Raises
    ------
    UnavailableError
        From every method, if Postgres is away or too slow.
    """

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool
        self._history = PreparedRead("user_history", async_queries.user_history.sql, ("user_id", "at_most"))
        self._digests = PreparedRead("history_digests", async_queries.history_digests.sql, ("user_ids", "at_most"))

    async def history(self, user_id: str, limit: int = HISTORY_LIMIT) -> UserHistory:
        """Return a user's latest interactions and the complete set of items seen; empty for users never seen."""
        async with self._connection("reading a history") as connection:
            [row] = await self._history.rows(connection, user_id, str(limit))
        return history_of(user_id, row)

    async def history_digests(self, user_ids: Sequence[str], limit: int = HISTORY_LIMIT) -> dict[str, int | None]:
        """Return the digest of each of some users' histories, as `history` has it: cheaper than to read them again."""
        async with self._connection("comparing histories") as connection:
            return dict(await self._digests.rows(connection, array_literal(user_ids), str(limit)))

    async def item_states(self, changed_after: datetime | None) -> list[ItemState]:
        """Return items that changed after an instant, by id; some that changed up to a minute before it again.

        Parameters
        ----------
        changed_after
            The latest `changed_at` read so far; None for all items.
        """
        since = None if changed_after is None else changed_after - OVERLAP
        async with self._connection("reading item states") as connection:
            cursor = await connection.execute(async_queries.item_states.sql, {"changed_after": since}, binary=True)
            return [_item_state(row) async for part in _parts(cursor) for row in part]

    async def item_statistics(self, after_us: int) -> StatisticsRows:
        """Return the newest row of each item that has one which closed after an edge.

        Parameters
        ----------
        after_us
            The newest edge read so far, microseconds since 1970 UTC; `NEVER_US` for all. Statistics that were rebuilt
            (new weights, late events) have new rows before it: read all of them from time to time.
        """
        async with self._connection("reading item statistics") as connection, connection.transaction():
            await async_queries.one_snapshot(connection)
            await async_queries.patient(connection)
            progress = await async_queries.statistics_progress(connection)
            if after_us == NEVER_US:
                cursor = await connection.execute(async_queries.all_newest_item_statistics.sql, binary=True)
            else:
                after = {"closed_after": from_us(max(0, after_us))}
                cursor = await connection.execute(async_queries.newest_item_statistics.sql, after, binary=True)
            item_ids: list[str] = []
            states = []
            async for part in _parts(cursor):
                ids, state = state_of_rows(part)
                item_ids += ids
                states.append(state)
        return StatisticsRows(
            item_ids=item_ids,
            state=await asyncio.to_thread(StatisticsState.all_of, states),
            closed_at_us=NEVER_US if progress is None else to_us(progress[0]),
            weights={} if progress is None else progress[3],
        )

    async def tell_weights(self, weights: Mapping[str, object]) -> None:
        """Say by which action weights, as `ActionWeights.to_json`, what serves was trained: statistics go by them."""
        async with self._connection("telling the served weights") as connection:
            await async_queries.tell_served_weights(connection, weights=msgspec.json.encode(weights).decode())

    async def popular_items(self, limit: int) -> list[str]:
        """Return the ids of the most popular items, best first: for answers when no bundle is at hand."""
        async with self._connection("reading popular items") as connection:
            rows = [row[0] async for row in async_queries.popular_items(connection, at_most=limit)]
            if rows:
                return rows
            return [row[0] async for row in async_queries.frequent_items(connection, at_most=limit)]

    async def ping(self) -> None:
        """Return once Postgres has answered."""
        async with self._connection("answering a ping") as connection:
            await async_queries.ping(connection)

    def _connection(self, doing: str) -> AbstractAsyncContextManager[AsyncConnection[tuple[Any, ...]]]:
        return connection_for(self._pool, doing)


class connection_for(AbstractAsyncContextManager[AsyncConnection[tuple[Any, ...]]]):  # noqa: N801  # reads as a verb
    """Lends a connection of the pool while doing what the words say; the driver's errors become ours.

    What the pool's own way adds, a commit of what commits itself and generators around it, is a fifth of what reading a
    history costs a server.
    """

    __slots__ = ("_connection", "_doing", "_pool")

    def __init__(self, pool: AsyncPool, doing: str) -> None:
        self._pool = pool
        self._doing = doing

    async def __aenter__(self) -> AsyncConnection[tuple[Any, ...]]:
        """Return the connection."""
        with database_errors(self._doing):
            self._connection = await self._pool.getconn()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back; the pool replaces one that is broken, or busy with what nobody waits for any more."""
        await self._pool.putconn(self._connection)
        if isinstance(error, Exception):
            with database_errors(self._doing):
                raise error


async def _parts(cursor: AsyncCursor[tuple[Any, ...]]) -> AsyncIterator[list[tuple[Any, ...]]]:
    """Yield the rows of an answer in parts, each decoded when it is its turn; the event loop turns between them."""
    while part := await cursor.fetchmany(PART):
        yield part
        await asyncio.sleep(0)


def _item_state(row: tuple[Any, ...]) -> ItemState:
    item_id, title, categories, *rest = row
    return ItemState(item_id, title, tuple(categories), *rest)
