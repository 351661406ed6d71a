"""Keeps the current version current: the alias, item states, statistics, texts and arrivals, each every few moments."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog

from features.contracts.errors import MarqueeError, UnavailableError
from features.contracts.statistics import StatisticsRows
from features.contracts.weights import ActionWeights
from features.store import ItemState
from serving.boundary import done
from serving.bundle_slot import BundleSlot, Look, Outcome, Served
from serving.growing import Grower
from serving.item_states import table_of
from serving.live import Current, LiveModel, warm
from serving.live_statistics import EVER_US, LiveStatistics
from serving.memory import give_back
from serving.metrics import Metrics
from serving.seams import Model, Store
from serving.text_follower import TextFollower
from serving.texts import Segment, Texts
from serving.waiting import answer_within

log = structlog.get_logger(__name__)

ALIAS_EVERY_S: Final = 2.0
NEWS_EVERY_S: Final = 0.25
"""How soon after the first process of a machine the others look too."""
PREVIOUS_EVERY_S: Final = 10.0
ITEMS_EVERY_S: Final = 1.0
STATISTICS_EVERY_S: Final = 5.0
TEXTS_EVERY_S: Final = 0.5
GROWTH_EVERY_S: Final = 1.0

SWAP_READ_S: Final = 15.0
"""How long a swap waits for each read: statistics of a million items take seconds, and while Postgres hangs a version
must be replaced all the same, perhaps by a rollback from one that is bad."""

SLICE: Final = 500
"""Item states that are taken in at once, some 10 ms of the event loop; a bulk import goes in by slices."""


class Keeper:
    """Moves the current version along: what `python -m serving` runs beside its requests.

    Parameters
    ----------
    slot
        Follows the alias; asked in a thread, by one task at a time.
    store
        Postgres, for live state.
    follower
        Reads texts.
    current
        Where the version that requests get is swapped.
    """

    def __init__(
        self, slot: BundleSlot, store: Store, follower: TextFollower, current: Current, metrics: Metrics
    ) -> None:
        self.slot = slot
        self._store = store
        self._follower = follower
        self._current = current
        self._metrics = metrics
        self._grower = Grower(current)
        self._told: str | None = None
        self._one_look = asyncio.Lock()
        self._one_change = asyncio.Lock()

    async def resume(self) -> None:
        """Serve the last good version from disk, if there is one."""
        served = await asyncio.to_thread(self.slot.resume)
        if served is not None:
            await self._swap(served)

    async def look(self, *, insist: bool = False) -> Look:
        """Look at the alias once, and serve what it points to if that is new and sound."""
        async with self._one_look:
            look = await asyncio.to_thread(self.slot.look, insist=insist)
            if look.outcome is not Outcome.UNCHANGED:
                self._metrics.bundle.loads.labels(look.outcome.value).inc()
            if look.served is not None:
                await self._swap(look.served)
            return look

    async def run(self) -> None:
        """Keep everything current, until cancelled."""
        refreshes = {
            "item_states": (ITEMS_EVERY_S, self.refresh_items),
            "statistics": (STATISTICS_EVERY_S, self.refresh_statistics),
            "texts": (TEXTS_EVERY_S, self.refresh_texts),
            "arrivals": (GROWTH_EVERY_S, self.grow),
        }
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(every(ALIAS_EVERY_S, "alias", self._look_quietly))
            tasks.create_task(every(NEWS_EVERY_S, "news", self._hear))
            tasks.create_task(every(PREVIOUS_EVERY_S, "previous", self.fetch_previous))
            for name, (period_s, refresh) in refreshes.items():
                tasks.create_task(every(period_s, name, self._watched(name, refresh)))

    async def fetch_previous(self) -> None:
        """Have the version that a rollback goes to on disk; looks at the alias go on meanwhile."""
        note = await asyncio.to_thread(self.slot.fetch_previous)
        if note is not None:
            async with self._one_look:
                await asyncio.to_thread(self.slot.note_previous, note)

    async def refresh_items(self) -> None:
        """Take in the item states that changed since the last time."""
        read_at = datetime.now(UTC)
        await self._take_in_states(await self._changed_states(), read_at)

    async def _changed_states(self) -> list[ItemState]:
        return await self._store.item_states(self._current.states.changed_after)

    async def _take_in_states(self, read: list[ItemState], read_at: datetime) -> None:
        states = self._current.states
        for start in range(0, max(len(read), 1), SLICE):
            end = start + SLICE
            states.apply(read[start:end], read_at if end >= len(read) else None)
            await asyncio.sleep(0)

    async def refresh_statistics(self) -> None:
        """Take in the statistics of all items, if a bucket closed since the last time."""
        live = self._current.live
        if live is None:
            return
        news = await self._store.item_statistics(live.statistics.closed_at_us)
        if live.statistics.is_news(news):
            await self._take_in(await self._store.item_statistics(EVER_US))
        now = self._current.live or live
        self._metrics.bundle.statistics_of_other_weights.set(now.statistics.other_weights)
        await self._tell_weights(now.model)

    async def _tell_weights(self, model: Model) -> None:
        """Say once of each version by which weights live statistics should be computed.

        Not again where others said otherwise since: the last one to be swapped in is the newest.
        """
        if model.digest != self._told:
            await self._store.tell_weights(model.manifest.weights)
            self._told = model.digest

    async def refresh_texts(self) -> None:
        """Take in the texts that were embedded since the last time."""
        live = self._current.live
        if live is None or live.texts is None:
            self._current.bare = await self._bare(self._current.bare)
        else:
            texts = await self._follower.refreshed(live.texts)
            now = self._current.live
            # A version that was swapped meanwhile has texts of its own.
            if now is not None and now.texts is live.texts and texts is not live.texts:
                self._current.live = replace(now, texts=texts)
            self._current.bare = None
        self._metrics.texts.show(self._current.texts)

    async def grow(self) -> None:
        """Let the served model know what arrived."""
        async with self._one_change:
            await self._grower.grow()
            live = self._current.live
            self._metrics.bundle.arrivals.set(0 if live is None else live.n_arrivals)

    async def _take_in(self, rows: StatisticsRows) -> None:
        """Let the served version, whichever it is by now, have the statistics of all items."""
        async with self._one_change:
            live = self._current.live
            if live is not None and live.statistics.is_news(rows):
                statistics = await asyncio.to_thread(live.statistics.with_rows, rows)
                # Lists go by what was until the model has seen what is: the first look at all items takes long.
                await asyncio.to_thread(warm, replace(live, statistics=statistics))
                # What was read of texts meanwhile is kept.
                self._current.live = replace(self._current.live or live, statistics=statistics)
                self._metrics.bundle.statistics_closed_at.set(statistics.current.closed_at_us / 1e6)

    async def _bare(self, texts: Texts | None) -> Texts | None:
        """Return the texts by the newest encoder as they are now."""
        digest = await self._follower.newest_encoder()
        if digest is None:
            return None
        if texts is not None and texts.digest == digest:
            return await self._follower.refreshed(texts)
        begun = await self._follower.begin(digest)
        return begun if begun.loaded or texts is None else texts

    async def _hear(self) -> None:
        if self.slot.hears_news():
            await self._look_quietly()

    async def _look_quietly(self) -> None:
        look = await self.look()
        if look.outcome is Outcome.AWAY:
            raise UnavailableError(look.reason or "the registry is away")

    async def _swap(self, served: Served) -> None:
        """Let requests go to a version, and let go of the one before."""
        async with self._one_change:
            self._current.live = live = await self._ready(served)
        # The search for garbage passes by what came now, as by what was imported: it holds up every request meanwhile.
        # Nothing of the old version waits for that search (tests/unit/serving/test_hot_swap.py), but what else is
        # garbage would be kept for ever: one search before, over what came since the last time, takes a millisecond.
        gc.collect()
        gc.freeze()
        manifest = served.model.manifest
        self._metrics.bundle.show(served.version, served.model.digest, manifest.trained_until_us)
        self._metrics.bundle.statistics_closed_at.set(live.statistics.current.closed_at_us / 1e6)
        log.info("serving_version", version=served.version, digest=served.model.digest, items=len(served.model.items))
        await asyncio.to_thread(self.slot.keep, served)
        await asyncio.to_thread(give_back)

    async def _ready(self, served: Served) -> LiveModel:
        """Return a version with its live state beside it, warm."""
        before = self._current.live
        if before is not None and before.served.model is served.model:
            return replace(before, served=served)
        live = await self._aligned(served)
        await asyncio.to_thread(warm, live)
        return live

    async def _aligned(self, served: Served) -> LiveModel:
        model, states = served.model, self._current.states
        weights = ActionWeights.from_json(model.manifest.weights)
        statistics = LiveStatistics(model.items, model.statistics, weights)
        try:
            if not states.loaded:
                read_at = datetime.now(UTC)
                await self._take_in_states(await answer_within(SWAP_READ_S, self._changed_states, "Postgres"), read_at)
            rows = await answer_within(SWAP_READ_S, partial(self._store.item_statistics, EVER_US), "Postgres")
        except UnavailableError as error:
            log.warning("live_state_unavailable", version=served.version, error=str(error))
        else:
            await asyncio.to_thread(statistics.apply, rows)
        items = await table_of(states, model.items)
        live = LiveModel(served, model, items, statistics)
        return replace(live, texts=await self._texts(live))

    async def _texts(self, live: LiveModel) -> Texts | None:
        """Return all texts by a version's encoder, None where it names none."""
        model = live.model
        if model.encoder is None:
            return None
        base = None if model.text_index is None else Segment.of(live.items, model.text_index)
        since_us = 0 if base is None else model.text_until_us
        return await self._follower.begin(model.encoder, base, since_us, self._current.texts)

    def _watched(self, state: str, refresh: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """Return a refresh that counts how it went."""

        async def counted() -> None:
            try:
                await refresh()
            except UnavailableError:
                self._metrics.bundle.refreshes.labels(state, "unavailable").inc()
                raise
            self._metrics.bundle.refreshes.labels(state, "ok").inc()

        return counted


@dataclass(slots=True)
class _Complaints:
    """Says the same thing once, until it is over."""

    name: str
    said: str | None = None

    def say(self, error: BaseException) -> None:
        if self.said != type(error).__name__:
            log.warning("refresh_failed", what=self.name, error=str(error))
        self.said = type(error).__name__

    def over(self) -> None:
        if self.said is not None:
            log.info("refresh_works_again", what=self.name)
        self.said = None


async def every(period_s: float, name: str, step: Callable[[], Awaitable[object]]) -> None:
    """Repeat a step until cancelled, whatever becomes of it: a server goes on with what it has."""
    complaints = _Complaints(name)

    async def heard() -> None:
        try:
            await step()
        except MarqueeError as error:
            complaints.say(error)
        else:
            complaints.over()

    while True:
        await done(heard, "refresh_defect", what=name)
        await asyncio.sleep(period_s)
