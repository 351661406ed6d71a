"""Items to ask new users about."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import ref

import numpy as np
import numpy.typing as npt

from features.contracts.errors import UnavailableError
from features.contracts.statistics import ItemStatistics
from serving import fallback
from serving.clock import Clock
from serving.guard import Guard
from serving.item_states import Mask
from serving.live import Current, LiveModel
from serving.problems import unavailable
from serving.seams import Model, Store

Choose = Callable[[Model, ItemStatistics, int, Mask], npt.NDArray[np.int32]]
"""Gives the rows of up to k of a model's eligible items that tell tastes apart; blocking."""

SOURCE: Final = "onboarding"
_REASON: Final = "Tells tastes apart"


@dataclass(eq=False, slots=True)
class _Kept:
    """Lists that were made for one state of the model and its items, by their length.

    Attributes
    ----------
    basis
        The model, its statistics and which items may be shown, by weak references: none of them lives on in the lists.
    """

    basis: tuple[ref[Any], ...]
    lists: dict[int, list[str]] = field(default_factory=dict)

    def is_of(self, *now: object) -> bool:
        """Return whether the lists were made from the same objects."""
        return all(one() is other for one, other in zip(self.basis, now, strict=True))


class Onboarding:
    """Answers which items a new user should be asked about: the same for everyone, and kept until something changes.

    Parameters
    ----------
    store, guard
        Postgres, asked for what is popular while there is no model.
    executor
        Threads for the work.
    choose
        Does it: `training.bundle.onboarding.onboarding_items`.
    """

    def __init__(
        self, *, store: Store, guard: Guard, current: Current, executor: Executor, choose: Choose, clock: Clock
    ) -> None:
        self._store = store
        self._guard = guard
        self._current = current
        self._executor = executor
        self._choose = choose
        self._clock = clock
        self._kept: _Kept | None = None

    async def items(self, k: int) -> dict[str, Any]:
        """Return the answer in its wire form, without `took_ms`.

        Raises
        ------
        ProblemError
            503, if there is neither a model nor Postgres.
        """
        live = self._current.live
        items = await (self._popular(k) if live is None else self._of_model(live, k))
        degraded, reason = fallback.verdict(
            [
                fallback.NO_MODEL if live is None else None,
                None if self._current.states.loaded else fallback.ITEM_STATES_UNAVAILABLE,
            ]
        )
        return {
            "model_version": None if live is None else live.version,
            "items": items,
            "degraded": degraded,
            "fallback_reason": reason,
        }

    async def _of_model(self, live: LiveModel, k: int) -> list[dict[str, Any]]:
        model, statistics, eligible = live.model, live.statistics.current, live.items.visible(self._clock())
        kept = self._kept
        if kept is None or not kept.is_of(model, statistics, eligible):
            kept = self._kept = _Kept((ref(model), ref(statistics), ref(eligible)))
        if k not in kept.lists:
            rows = await asyncio.get_running_loop().run_in_executor(
                self._executor, self._choose, model, statistics, k, eligible
            )
            kept.lists[k] = live.model.items.external(rows)
        return [self._wire(item_id, rank) for rank, item_id in enumerate(kept.lists[k], 1)]

    async def _popular(self, k: int) -> list[dict[str, Any]]:
        try:
            popular = await self._guard.call(lambda: self._store.popular_items(k))
        except UnavailableError:
            raise unavailable("there is no model yet, and the event store is away; try again soon") from None
        return fallback.popular_list(popular, (), k, self._current.states.title, explain=False)

    def _wire(self, item_id: str, rank: int) -> dict[str, Any]:
        return {
            "item_id": item_id,
            "rank": rank,
            "score": 1.0 / rank,
            "source": SOURCE,
            "reason": _REASON,
            "title": self._current.states.title(item_id),
        }
