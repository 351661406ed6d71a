"""Items as clients read them of Postgres: one, a page of them, how many."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from features.db.connection import AsyncPool
from features.db.queries import async_queries
from features.store import connection_for


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One item as the catalogue has it now; `created_at` is when it first came, `embedded` whether its text is."""

    item_id: str
    title: str
    text: str
    categories: list[str]
    attributes: dict[str, Any]
    hidden: bool
    stock: int | None
    published_at: datetime | None
    expires_at: datetime | None
    created_at: datetime
    changed_at: datetime
    embedded: bool


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """How many items there are, are hidden, are deleted, are embedded, wait for it; how long one has, in seconds."""

    items: int
    hidden: int
    deleted: int
    embedded: int
    waiting: int
    oldest_waiting_s: float | None


class CatalogueStore:
    """Typed readers of the catalogue; each raises `UnavailableError` if Postgres is away or too slow."""

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool

    async def item(self, item_id: str, encoder: str | None) -> ItemRow | None:
        """Return an item, None where there is none or it is deleted.

        Parameters
        ----------
        encoder
            By which its text is embedded, or is not yet.
        """
        async with connection_for(self._pool, "reading an item") as connection:
            row = await async_queries.item(connection, item_id=item_id, encoder=encoder)
        return None if row is None else ItemRow(*row)

    async def items(
        self,
        before: tuple[datetime, str],
        *,
        at_most: int,
        category: str | None,
        all_items: bool,
        encoder: str | None,
        text_chars: int,
    ) -> list[ItemRow]:
        """Return a page of items, newest first by when they first came, of their texts the beginning.

        Parameters
        ----------
        before
            The last item that is known already: when it came, and its id.
        at_most
            Items wanted.
        category
            Only items in it; None = all.
        all_items
            Also those that may not be shown now.
        """
        async with connection_for(self._pool, "listing items") as connection:
            found = async_queries.items(
                connection,
                before_at=before[0],
                before_id=before[1],
                at_most=at_most,
                category=category,
                all_items=all_items,
                encoder=encoder,
                text_chars=text_chars,
            )
            return [ItemRow(*row) async for row in found]

    async def counts(self, encoder: str | None) -> ItemCounts:
        """Return how many items there are, and how many of them are embedded by an encoder."""
        async with connection_for(self._pool, "counting items") as connection:
            return ItemCounts(*await async_queries.item_counts(connection, encoder=encoder))
