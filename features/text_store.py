"""Texts as serving reads them of Postgres: vectors and terms by one encoder, those that are new since a moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import starmap
from typing import Any

import numpy as np
import numpy.typing as npt

from features.contracts.times import to_us
from features.db.connection import AsyncPool
from features.db.queries import async_queries
from features.embedding.rows import HALF, unpacked_terms, unpacked_vectors
from features.facts_of import FACT_NAMES, facts_of
from features.store import connection_for
from features.text.terms import Terms, joined

Place = tuple[datetime, str]
"""Where a page ends: when its last text was embedded, and whose it is."""


@dataclass(frozen=True, eq=False, slots=True)
class TextRows:
    """Texts of some items as an encoder sees them, and what the catalogue says of these items in numbers.

    Attributes
    ----------
    item_ids
        External ids, each once.
    embedded_us
        int64 (n,), when each was embedded, microseconds since 1970 UTC.
    vectors
        float16 (n, dimension), of length 1, or zero where there is no text.
    terms
        Their weighed terms.
    facts
        float32 (n, 2), price and year, NaN where unknown.
    """

    item_ids: Sequence[str]
    embedded_us: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float16]
    terms: Terms
    facts: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.item_ids)

    @classmethod
    def empty(cls) -> "TextRows":
        """Return no texts."""
        none = np.zeros((0, 0), dtype=np.float16)
        return cls((), np.empty(0, dtype=np.int64), none, joined(()), np.empty((0, 2), dtype=np.float32))

    def take(self, rows: npt.NDArray[np.integer]) -> "TextRows":
        """Return some of the texts, in the order asked for."""
        item_ids = [self.item_ids[row] for row in rows.tolist()]
        return TextRows(item_ids, self.embedded_us[rows], self.vectors[rows], self.terms.take(rows), self.facts[rows])

    @classmethod
    def all_of(cls, parts: Sequence["TextRows"]) -> "TextRows":
        """Return the texts of several parts as one; no item may be in two of them."""
        some = [part for part in parts if len(part)]
        if len(some) < 2:
            return some[0] if some else cls.empty()
        return cls(
            [item_id for part in some for item_id in part.item_ids],
            np.concatenate([part.embedded_us for part in some]),
            np.concatenate([part.vectors for part in some]),
            joined([part.terms for part in some]),
            np.concatenate([part.facts for part in some]),
        )


class TextStore:
    """Typed readers of texts over the async pool; each raises `UnavailableError` if Postgres is away or too slow."""

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool

    async def newest_encoder(self) -> str | None:
        """Return the digest of the newest encoder whose vectors are complete, None where there is none."""
        async with connection_for(self._pool, "reading the newest encoder") as connection:
            row = await async_queries.newest_encoder(connection)
        return None if row is None else str(row[0])

    async def keys(self, encoder: str, since: datetime) -> dict[str, int]:
        """Return which items' texts were embedded at or after an instant, and when, microseconds since 1970 UTC."""
        async with connection_for(self._pool, "reading which texts are new") as connection:
            cursor = await connection.execute(
                async_queries.text_keys.sql, {"encoder": encoder, "since": since}, binary=True
            )
            return {item_id: to_us(at) for item_id, at in await cursor.fetchall()}

    async def ids(self, encoder: str, after_id: str, at_most: int) -> list[str]:
        """Return the items that follow one, of those whose texts were embedded, whenever that was."""
        async with connection_for(self._pool, "reading whose texts there are") as connection:
            asked = {"encoder": encoder, "after_id": after_id, "at_most": at_most}
            cursor = await connection.execute(async_queries.text_ids.sql, asked, binary=True)
            return [item_id for (item_id,) in await cursor.fetchall()]

    async def rows(self, encoder: str, item_ids: Sequence[str]) -> TextRows:
        """Return the texts of some items, of those that have one."""
        asked = {"encoder": encoder, "item_ids": list(item_ids), "names": list(FACT_NAMES)}
        return await self._read(async_queries.text_rows.sql, asked)

    async def page(self, encoder: str, after: Place, at_most: int) -> TextRows:
        """Return the texts that follow a place, in the order in which they were embedded."""
        asked = {
            "encoder": encoder,
            "after_at": after[0],
            "after_id": after[1],
            "names": list(FACT_NAMES),
            "at_most": at_most,
        }
        return await self._read(async_queries.text_page.sql, asked)

    async def _read(self, query: str, asked: dict[str, Any]) -> TextRows:
        async with connection_for(self._pool, "reading texts") as connection:
            cursor = await connection.execute(query.encode(), asked, binary=True)
            return _text_rows(await cursor.fetchall())


def _text_rows(rows: Sequence[tuple[Any, ...]]) -> TextRows:
    if not rows:
        return TextRows.empty()
    item_ids, embedded_at, vectors, terms, titles, published, attributes = zip(*rows, strict=True)
    told = zip(titles, (said or {} for said in attributes), published, strict=True)
    return TextRows(
        item_ids,
        np.array([to_us(at) for at in embedded_at], dtype=np.int64),
        unpacked_vectors(vectors, len(vectors[0]) // HALF.itemsize),
        unpacked_terms(terms),
        np.array(list(starmap(facts_of, told)), dtype=np.float32),
    )
