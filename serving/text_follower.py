"""Keeps all texts by one encoder in memory: read once, then what is new every moment."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Final

import numpy as np
import structlog

from features.contracts.errors import MarqueeError
from features.contracts.ids import IdMap
from features.contracts.times import from_us
from features.text.encoder import Encoder
from features.text.search import TextIndex
from features.text.warm import warm
from features.text_store import Place, TextRows
from serving.item_states import ItemStates, table_of
from serving.seams import TextSource
from serving.texts import Segment, Texts, joined_rows
from serving.waiting import Answer, answer_within

log = structlog.get_logger(__name__)

LoadEncoder = Callable[[str], Encoder]
"""Gives the encoder of a digest; blocking; raises `MarqueeError`."""

OVERLAP: Final = timedelta(seconds=5)
"""Texts show once their transaction commits, within this of their time as a rule."""
LONG_OVERLAP: Final = timedelta(seconds=60)
"""And within this always: an embedder's statement may not take longer."""
LONG_EVERY_S: Final = 20.0
AGAIN_AFTER_S: Final = 5.0
"""How long an encoder that cannot be loaded is left alone."""
PAGE: Final = 2_000
"""Texts that are read at once: some 2 MB."""
IDS: Final = 20_000
"""Ids that are read at once, some 10 ms of the event loop."""
READ_S: Final = 5.0
"""How long each read may take: Postgres breaks statements off after two seconds; where it hangs, a swap goes on."""


@dataclass(slots=True)
class _Loaded:
    """What came of loading an encoder, and when."""

    digest: str
    encoder: Encoder | None
    fault: str | None
    at_s: float


class TextFollower:
    """Reads texts of Postgres and keeps their indexes; for one task at a time.

    Parameters
    ----------
    source
        Postgres.
    states
        Of all items.
    load
        Gives encoders.
    clock_s
        Monotonic time in seconds.
    """

    def __init__(
        self,
        source: TextSource,
        states: ItemStates,
        load: LoadEncoder,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._states = states
        self._load = load
        self._clock_s = clock_s
        self._kept: _Loaded | None = None
        self._looked_long_s = float("-inf")

    async def begin(
        self, digest: str, base: Segment | None = None, since_us: int = 0, before: Texts | None = None
    ) -> Texts:
        """Return the texts by an encoder; not `loaded` where Postgres is away.

        Parameters
        ----------
        base
            A bundle's own index.
        since_us
            Texts embedded since then are not in it, microseconds since 1970 UTC.
        before
            What is followed until now: if by the same encoder, what it holds need not be read again.
        """
        texts = await self._with_encoder(Texts(digest, base=base, since_us=since_us))
        try:
            if before is not None and before.digest == digest and before.loaded and before.since_us <= since_us:
                carried = await asyncio.to_thread(_carried, before, texts)
                texts = await self._with(replace(texts, newest_us=before.newest_us), carried)
                return await self._complete(texts, await asyncio.to_thread(_dropped, before, texts))
            return await self._whole(texts)
        except MarqueeError as error:
            log.warning("texts_unavailable", encoder=digest, error=str(error))
            return texts

    async def refreshed(self, texts: Texts) -> Texts:
        """Return the texts as they are now; the same object where nothing is new.

        Raises
        ------
        UnavailableError
            If Postgres is away.
        """
        texts = await self._with_encoder(texts)
        if not texts.loaded:
            return await self._whole(texts)
        overlap = self._overlap()
        since = from_us(max(texts.newest_us, 0)) - overlap
        keys = await _in_time(partial(self._source.keys, texts.digest, since))
        news = await asyncio.to_thread(texts.news, keys)
        if not news:
            return texts
        return await self._with(texts, await self._rows(texts.digest, news))

    async def newest_encoder(self) -> str | None:
        """Return the encoder to use where no bundle names one."""
        return await self._source.newest_encoder()

    async def _rows(self, digest: str, item_ids: Sequence[str]) -> TextRows:
        """Return the texts of some items, read in parts."""
        parts = [item_ids[at : at + PAGE] for at in range(0, len(item_ids), PAGE)]
        return TextRows.all_of([await _in_time(partial(self._source.rows, digest, part)) for part in parts])

    def _overlap(self) -> timedelta:
        if self._clock_s() - self._looked_long_s < LONG_EVERY_S:
            return OVERLAP
        self._looked_long_s = self._clock_s()
        return LONG_OVERLAP

    async def _with_encoder(self, texts: Texts) -> Texts:
        """Return the texts with their encoder, or with why it cannot be loaded."""
        if texts.encoder is not None:
            return texts
        kept = self._kept
        if kept is None or kept.digest != texts.digest or (kept.encoder is None and self._rested(kept)):
            kept = self._kept = await asyncio.to_thread(self._loaded, texts.digest)
        if (kept.encoder, kept.fault) == (texts.encoder, texts.fault):
            return texts
        return replace(texts, encoder=kept.encoder, fault=kept.fault)

    def _rested(self, kept: _Loaded) -> bool:
        return self._clock_s() - kept.at_s > AGAIN_AFTER_S

    def _loaded(self, digest: str) -> _Loaded:
        try:
            encoder = self._load(digest)
            warm(encoder)
            return _Loaded(digest, encoder, None, self._clock_s())
        except MarqueeError as error:
            found, before = _Loaded(digest, None, str(error), self._clock_s()), self._kept
            if before is None or (before.digest, before.fault) != (found.digest, found.fault):  # said once
                log.warning("encoder_unavailable", encoder=digest, error=found.fault)
            return found

    async def _whole(self, texts: Texts) -> Texts:
        """Return the texts with all that was embedded since the bundle, and what it lacks of the time before."""
        after: Place = (from_us(max(texts.since_us, 0)) - LONG_OVERLAP, "")
        found: list[TextRows] = []
        while not found or len(found[-1]) == PAGE:
            page = await _in_time(partial(self._source.page, texts.digest, after, PAGE))
            found.append(page)
            if len(page):
                after = (from_us(int(page.embedded_us[-1])), page.item_ids[-1])
        rows = await asyncio.to_thread(_latest, found)
        texts = await self._with(replace(texts, newer=(), newest_us=texts.since_us), rows)
        return await self._complete(texts, await self._older(texts))

    async def _older(self, texts: Texts) -> list[str]:
        """Return the items whose texts are older than the bundle's newest, and yet not in it.

        Its training may have known nothing of an item that was embedded already: one that was deleted then and has the
        same words again, or one that came after the moment as of which it was trained.
        """
        found: list[str] = []
        page = [""]
        while texts.base is not None and page:
            page = await _in_time(partial(self._source.ids, texts.digest, page[-1], IDS))
            found += await asyncio.to_thread(texts.lacking, page)
        return found

    async def _complete(self, texts: Texts, item_ids: Sequence[str]) -> Texts:
        """Return the texts with those of some items, which are all that was lacking."""
        return replace(await self._with(texts, await self._rows(texts.digest, item_ids)), loaded=True)

    async def _with(self, texts: Texts, rows: TextRows) -> Texts:
        """Return the texts with some that are new."""
        if not len(rows):
            return texts
        kept, joined = await asyncio.to_thread(joined_rows, texts, rows)
        items = await asyncio.to_thread(IdMap, joined.item_ids)
        index = await asyncio.to_thread(TextIndex.build, joined.vectors, joined.terms)
        segment = Segment.of(await table_of(self._states, items), index, joined)
        base = None if texts.base is None else await asyncio.to_thread(texts.base.without, rows.item_ids)
        newest_us = max(texts.newest_us, int(rows.embedded_us.max()))
        return replace(texts, base=base, newer=(*kept, segment), newest_us=newest_us)


async def _in_time(read: Callable[[], Awaitable[Answer]]) -> Answer:
    """Return what is read, or raise `UnavailableError` where Postgres hangs."""
    return await answer_within(READ_S, read, "Postgres")


def _latest(parts: Sequence[TextRows]) -> TextRows:
    """Return texts of several pages as one; of an item that was embedded again meanwhile the later."""
    ids = [item_id for part in parts for item_id in part.item_ids]
    last = {item_id: place for place, item_id in enumerate(ids)}
    if len(last) == len(ids):
        return TextRows.all_of(parts)
    kept, start = [], 0
    for part in parts:
        rows = [row for row, item_id in enumerate(part.item_ids) if last[item_id] == start + row]
        kept.append(part.take(np.array(rows, dtype=np.int64)))
        start += len(part)
    return TextRows.all_of(kept)


def _carried(before: Texts, texts: Texts) -> TextRows:
    """Return those texts of one generation that the bundle of the next does not have."""
    since_us = texts.since_us - LONG_OVERLAP // timedelta(microseconds=1)
    parts = []
    for segment in before.newer:
        new = segment.alive & (segment.rows.embedded_us >= since_us)
        if texts.base is not None:
            held = texts.base.items
            new |= segment.alive & np.array([item_id not in held for item_id in segment.rows.item_ids], dtype=np.bool_)
        parts.append(segment.rows.take(np.flatnonzero(new)))
    return TextRows.all_of(parts)


def _dropped(before: Texts, texts: Texts) -> list[str]:
    """Return the items whose texts the bundle of one generation has and the next generation lacks."""
    if before.base is None:
        return []
    return texts.lacking(before.base.items.external(np.flatnonzero(before.base.alive)))
