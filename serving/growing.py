"""Lets the served model grow by what arrived after its bundle was made: items with a text and no history yet."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import structlog

from features.contracts.errors import ContractError
from features.contracts.facts import ItemFacts
from features.text_store import TextRows
from serving.item_states import ItemStates
from serving.live import Current, LiveModel, warm
from serving.seams import Model
from serving.texts import Segment, Texts, rows_of
from training.bundle.arrivals import Arrivals

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

REST_PER_WORK: Final = 9.0
"""Seconds of rest for each that a core worked on growing: it takes a tenth of the time of one core at most."""


@dataclass(frozen=True, eq=False, slots=True)
class _Known:
    """A model that grew, and when the texts of its arrivals were embedded, in their order."""

    model: Model
    embedded_us: npt.NDArray[np.int64]


class Grower:
    """Replaces the served model by one that knows what arrived.

    Parameters
    ----------
    current
        Where the served model is swapped.
    clock_s
        Monotonic time in seconds.
    processor_s
        Seconds that a core worked for the thread that asks. Those rule the rest: where others hold the cores, growing
        takes long as it is, and what arrives meanwhile would wait ten times as long.
    """

    def __init__(
        self,
        current: Current,
        clock_s: Callable[[], float] = time.monotonic,
        processor_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._current = current
        self._clock_s = clock_s
        self._processor_s = processor_s
        self._worked_s = 0.0
        self._rests_until_s = float("-inf")
        self._known: _Known | None = None

    async def grow(self) -> bool:
        """Take in what arrived and return whether the served model is another now; nobody may swap it meanwhile."""
        live, started = self._current.live, self._clock_s()
        if self._known is not None and (live is None or self._known.model is not live.model):
            self._known = None  # a version that is served no more would live on in it
        if live is None or live.texts is None or started < self._rests_until_s:
            return False
        self._worked_s = 0.0
        try:
            grown = await self._grown(live, await self._worked(_arrived, live, live.texts, self._current.states))
        finally:
            ended = self._clock_s()
            self._rests_until_s = ended + REST_PER_WORK * self._worked_s
        if grown is None or self._current.live is None:
            return False
        # What was read of texts meanwhile is kept.
        self._current.live = replace(grown, texts=self._current.live.texts)
        log.info("model_grown", version=live.version, arrivals=grown.n_arrivals, took_s=round(ended - started, 3))
        return True

    async def _grown(self, live: LiveModel, arrived: TextRows) -> LiveModel | None:
        """Return the model with what arrived, None where that is in it already."""
        before, old = live.n_arrivals, self._known
        changed = (
            old is not None
            and old.model is live.model
            and not np.array_equal(old.embedded_us, arrived.embedded_us[:before])
        )
        if len(arrived) == before and not changed:
            return None
        # Texts of arrivals that changed: all are taken in anew.
        start, model = (0, live.served.model) if changed else (before, live.model)
        arrivals = _arrivals(arrived.take(np.arange(start, len(arrived))), self._current.states)
        model = await self._worked(model.grown, arrivals)
        items = live.items.grown(model.items)
        statistics = await self._worked(live.statistics.grown, model.items, model.statistics)
        grown = LiveModel(live.served, model, items, statistics)
        await self._worked(warm, grown)
        self._known = _Known(model, arrived.embedded_us)
        return grown

    async def _worked(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what some work in a thread of its own returns, and count the processor's time that it took."""

        def timed() -> T:
            began = self._processor_s()
            try:
                return work(*args, **kwargs)
            finally:
                self._worked_s += self._processor_s() - began

        return await asyncio.to_thread(timed)


def _arrivals(arrived: TextRows, states: ItemStates) -> Arrivals:
    known = [states.get(item_id) for item_id in arrived.item_ids]
    return Arrivals(
        item_ids=arrived.item_ids,
        vectors=arrived.vectors,
        categories=[() if state is None else state.categories for state in known],
        facts=ItemFacts(price=arrived.facts[:, 0], year=arrived.facts[:, 1]),
    )


def _arrived(live: LiveModel, texts: Texts, states: ItemStates) -> TextRows:
    """Return the texts of all items that arrived: those that the model has already, and after them those that are new.

    New ones are items that exist, whose state has been read, and that have a text, as in training: without one nothing
    tells who could like them.
    """
    known = live.model.items
    before = known.external(np.arange(len(live.served.model.items), len(known)))
    new = [
        item_id
        for segment in texts.newer
        for item_id in _told(segment)
        if item_id not in known and _exists(states, item_id)
    ]
    if not before and not new:
        return TextRows.empty()
    found = rows_of(texts, [*before, *new])
    if list(found.item_ids[: len(before)]) != before:
        raise ContractError(
            f"texts of {len(before)} items that arrived are no longer all among those that are followed"
        )
    return found


def _told(segment: Segment) -> list[str]:
    """Return the items of a segment that have a text, by which they are current."""
    told = segment.alive & segment.rows.vectors.any(axis=1)
    return [segment.rows.item_ids[row] for row in np.flatnonzero(told).tolist()]


def _exists(states: ItemStates, item_id: str) -> bool:
    state = states.get(item_id)
    return state is not None and not state.deleted
