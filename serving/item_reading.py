"""Items as clients read them: one, a page of them newest first, how many."""

import asyncio
import base64
import binascii
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from features.catalogue_store import ItemCounts, ItemRow
from features.contracts.errors import UnavailableError
from features.contracts.times import from_us, to_us, zulu
from features.text.documents import document_of
from serving.guard import Guard
from serving.live import Current
from serving.problems import ProblemError, unavailable
from serving.seams import CatalogueSource

COUNTED_FOR_S: Final = 1.0
"""How long a count is given again: counting a million items takes a second."""
TEXT_IN_LISTS: Final = 300
"""Characters of a text that a list shows."""
_FROM_THE_NEWEST: Final = (datetime(9999, 1, 1, tzinfo=UTC), "")
_AWAY: Final = "the catalogue cannot be read now; try again soon"


@dataclass(frozen=True, slots=True)
class _Counted:
    """What was counted by an encoder, and when."""

    encoder: str | None
    counts: ItemCounts
    at_s: float


class ItemReader:
    """Reads the catalogue for clients.

    Parameters
    ----------
    source, guard
        Postgres, and what keeps a dead Postgres from holding up requests.
    current
        Says by which encoder items are embedded.
    clock_s
        Monotonic time in seconds.
    """

    def __init__(
        self,
        source: CatalogueSource,
        guard: Guard,
        current: Current,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._guard = guard
        self._current = current
        self._clock_s = clock_s
        self._one_count = asyncio.Lock()
        self._counted: _Counted | None = None

    async def item(self, item_id: str) -> dict[str, Any]:
        """Return an item in its wire form.

        Raises
        ------
        ProblemError
            404 for an item that never was or is deleted, 503 where Postgres is away.
        """
        try:
            row = await self._guard.call(lambda: self._source.item(item_id, self._encoder))
        except UnavailableError:
            raise unavailable(_AWAY) from None
        if row is None:
            raise ProblemError(404, "there is no item of this id; one that was posted a moment ago may still come")
        return {**_wire(row), "text": row.text, "attributes": row.attributes}

    async def page(
        self, cursor: str | None, *, limit: int, category: str | None, include_hidden: bool
    ) -> dict[str, Any]:
        """Return a page of items in its wire form.

        Parameters
        ----------
        cursor
            `next` of the page before; None for the newest items.

        Raises
        ------
        ProblemError
            422 for a cursor that is none, 503 where Postgres is away.
        """
        before = _FROM_THE_NEWEST if cursor is None else _place(cursor)
        try:
            rows = await self._guard.call(
                lambda: self._source.items(
                    before,
                    at_most=limit + 1,
                    category=category,
                    all_items=include_hidden,
                    encoder=self._encoder,
                    text_chars=TEXT_IN_LISTS,
                )
            )
        except UnavailableError:
            raise unavailable(_AWAY) from None
        following = _cursor(rows[limit - 1]) if len(rows) > limit else None
        return {"items": [{**_wire(row), "text": row.text} for row in rows[:limit]], "next": following}

    async def stats(self) -> dict[str, Any]:
        """Return the numbers of items in their wire form.

        Raises
        ------
        ProblemError
            503 where Postgres is away.
        """
        texts = self._current.texts
        counts = await self._counts()
        return {
            "items": counts.items,
            "hidden": counts.hidden,
            "deleted": counts.deleted,
            "embedded": counts.embedded,
            "waiting": counts.waiting,
            "oldest_waiting_s": counts.oldest_waiting_s,
            "encoder": self._encoder,
            "searchable": 0 if texts is None else texts.n_texts,
            "arrivals": 0 if self._current.live is None else self._current.live.n_arrivals,
        }

    async def _counts(self) -> ItemCounts:
        async with self._one_count:
            encoder, kept = self._encoder, self._counted
            if kept is not None and kept.encoder == encoder and self._clock_s() - kept.at_s < COUNTED_FOR_S:
                return kept.counts
            try:
                counts = await self._guard.call(lambda: self._source.counts(encoder))
            except UnavailableError:
                raise unavailable(_AWAY) from None
            self._counted = _Counted(encoder, counts, self._clock_s())
            return counts

    @property
    def _encoder(self) -> str | None:
        texts = self._current.texts
        return None if texts is None else texts.digest


def _wire(row: ItemRow) -> dict[str, Any]:
    return {
        "item_id": row.item_id,
        "title": row.title,
        "author": document_of("", "", (), row.attributes).author or None,
        "categories": row.categories,
        "hidden": row.hidden,
        "stock": row.stock,
        "published_at": _time(row.published_at),
        "expires_at": _time(row.expires_at),
        "created_at": _time(row.created_at),
        "changed_at": _time(row.changed_at),
        "embedded": row.embedded,
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else zulu(at)


def _cursor(row: ItemRow) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((to_us(row.created_at), row.item_id))).decode().rstrip("=")


def _place(cursor: str) -> tuple[datetime, str]:
    """Return the place that a cursor names.

    Raises
    ------
    ProblemError
        422.
    """
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        at_us, item_id = msgspec.json.decode(raw, type=tuple[int, str])
        place = from_us(at_us), item_id
    except (binascii.Error, ValueError, msgspec.DecodeError, OverflowError):
        place = None
    if place is None or "\0" in place[1]:
        where = {"path": "query.cursor", "message": "expected `next` of another page, as it was given"}
        raise ProblemError(422, "1 value is missing or malformed", errors=[where])
    return place
