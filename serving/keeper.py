"""Keeps the current version current: the alias, item states and statistics, each looked at every second or two."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from features.contracts.errors import MarqueeError, UnavailableError
from features.contracts.weights import ActionWeights
from serving.bundle_slot import BundleSlot, Look, Outcome, Served
from serving.item_states import ItemTable
from serving.live import Current, LiveModel, warm
from serving.live_statistics import EVER_US, LiveStatistics
from serving.metrics import Metrics
from serving.seams import Store

log = structlog.get_logger(__name__)

ALIAS_EVERY_S: Final = 2.0
ITEMS_EVERY_S: Final = 1.0
STATISTICS_EVERY_S: Final = 5.0

SLICE: Final = 2_000
"""Item states that are taken in at once, some 10 ms of the event loop; a bulk import goes in by slices."""


class Keeper:
    """Moves the current version along: what `python -m serving` runs beside its requests.

    Parameters
    ----------
    slot
        Follows the alias; asked in a thread, by one task at a time.
    store
        Postgres, for live state.
    current
        Where the version that requests get is swapped.
    """

    def __init__(self, slot: BundleSlot, store: Store, current: Current, metrics: Metrics) -> None:
        self.slot = slot
        self._store = store
        self._current = current
        self._metrics = metrics
        self._one_look = asyncio.Lock()

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
                self._metrics.bundle_loads.labels(look.outcome.value).inc()
            if look.served is not None:
                await self._swap(look.served)
            return look

    async def run(self) -> None:
        """Keep everything current, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_every(ALIAS_EVERY_S, "alias", self._look_quietly))
            tasks.create_task(_every(ITEMS_EVERY_S, "item_states", self._watched("item_states", self.refresh_items)))
            tasks.create_task(
                _every(STATISTICS_EVERY_S, "statistics", self._watched("statistics", self.refresh_statistics))
            )

    async def refresh_items(self) -> None:
        """Take in the item states that changed since the last time."""
        live = self._current.live
        if live is None:
            return
        read_at = datetime.now(UTC)
        states = await self._store.item_states(live.items.changed_after)
        for start in range(0, max(len(states), 1), SLICE):
            live.items.apply(states[start : start + SLICE], read_at)
            await asyncio.sleep(0)

    async def refresh_statistics(self) -> None:
        """Take in the statistics of all items, if a bucket closed since the last time."""
        live = self._current.live
        if live is None:
            return
        news = await self._store.item_statistics(live.statistics.closed_at_us)
        if live.statistics.is_news(news):
            rows = await self._store.item_statistics(EVER_US)
            await asyncio.to_thread(live.statistics.apply, rows)
            await asyncio.to_thread(warm, live)
            self._metrics.statistics_closed_at.set(live.statistics.current.closed_at_us / 1e6)
        self._metrics.statistics_of_other_weights.set(live.statistics.other_weights)

    async def _look_quietly(self) -> None:
        look = await self.look()
        if look.outcome is Outcome.AWAY:
            raise UnavailableError(look.reason or "the registry is away")

    async def _swap(self, served: Served) -> None:
        """Let requests go to a version, once its live state is beside it."""
        before = self._current.live
        if before is not None and before.model is served.model:
            live = LiveModel(served, before.items, before.statistics)
        else:
            live = await self._aligned(served, before)
            await asyncio.to_thread(warm, live)
        self._current.live = live
        manifest = served.model.manifest
        self._metrics.show_bundle(served.version, served.model.digest, manifest.trained_until_us)
        log.info("serving_version", version=served.version, digest=served.model.digest, items=len(served.model.items))
        await asyncio.to_thread(self.slot.keep, served)

    async def _aligned(self, served: Served, before: LiveModel | None) -> LiveModel:
        model = served.model
        weights = ActionWeights.from_json(model.manifest.weights)
        statistics = LiveStatistics(model.items, model.statistics, weights)
        read_at = datetime.now(UTC)
        try:
            states = await self._store.item_states(None)
            rows = await self._store.item_statistics(EVER_US)
        except UnavailableError as error:
            log.warning("live_state_unavailable", version=served.version, error=str(error))
            known = ItemTable(model.items) if before is None else before.items.carried_to(model.items)
            return LiveModel(served, known, statistics)
        items = ItemTable(model.items)
        await asyncio.to_thread(items.apply, states, read_at)
        await asyncio.to_thread(statistics.apply, rows)
        return LiveModel(served, items, statistics)

    def _watched(self, state: str, refresh: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """Return a refresh that counts how it went."""

        async def counted() -> None:
            try:
                await refresh()
            except UnavailableError:
                self._metrics.refreshes.labels(state, "unavailable").inc()
                raise
            self._metrics.refreshes.labels(state, "ok").inc()

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


async def _every(period_s: float, name: str, step: Callable[[], Awaitable[object]]) -> None:
    """Repeat a step until cancelled, whatever becomes of it: a server goes on with what it has."""
    complaints = _Complaints(name)
    while True:
        try:
            await step()
        except MarqueeError as error:
            complaints.say(error)
        except Exception:  # the boundary of a background task: a defect must show, and must not end the refreshes
            log.exception("refresh_defect", what=name)
        else:
            complaints.over()
        await asyncio.sleep(period_s)
