"""Items like one item, from the served bundle."""

import asyncio
from concurrent.futures import Executor
from typing import Any

from features.contracts.ids import MISSING
from serving import fallback
from serving.clock import Clock
from serving.explain import name_of
from serving.live import Current, LiveModel
from serving.problems import ProblemError, unavailable


class Similar:
    """Answers which items are like an item.

    Parameters
    ----------
    current
        The served version.
    executor
        Threads for the bundle's work.
    """

    def __init__(self, current: Current, executor: Executor, clock: Clock) -> None:
        self._current = current
        self._executor = executor
        self._clock = clock

    async def similar(self, item_id: str, k: int) -> dict[str, Any]:
        """Return the answer in its wire form, without `took_ms`.

        Raises
        ------
        ProblemError
            404 for an item that the model does not know, 503 without a model.
        """
        live = self._current.live
        if live is None:
            raise unavailable("there is no model yet; try again soon")
        row = int(live.model.items.index_or_missing([item_id])[0])
        if row == MISSING:
            raise ProblemError(404, f"model version {live.version} does not know this item")
        items = await asyncio.get_running_loop().run_in_executor(self._executor, self._listed, live, row, k)
        degraded, reason = fallback.verdict([None if live.items.loaded else fallback.ITEM_STATES_UNAVAILABLE])
        return {
            "item_id": item_id,
            "model_version": live.version,
            "items": items,
            "degraded": degraded,
            "fallback_reason": reason,
        }

    def _listed(self, live: LiveModel, row: int, k: int) -> list[dict[str, Any]]:
        eligible = live.items.visible(self._clock()).copy()
        eligible[row] = False
        found, scores = live.model.similar(row, k, eligible)
        like = f"Similar to {name_of(live, row)}"
        return [
            {"item_id": item_id, "rank": rank, "score": score, "source": "similar", "reason": like, "title": title}
            for rank, (item_id, score, title) in enumerate(
                zip(
                    live.model.items.external(found),
                    scores.tolist(),
                    map(live.items.title, found.tolist()),
                    strict=True,
                ),
                1,
            )
        ]
