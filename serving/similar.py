"""Items like one item: those that the same users like, those whose text is alike, or both, and which of them it is."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from features.text.encoder import Encoder
from features.text.years import beside_year
from serving import fallback
from serving.clock import Clock
from serving.item_states import Mask
from serving.live import Current, LiveModel
from serving.problems import ProblemError, unavailable
from serving.seams import By
from serving.texts import Filter, Texts
from training.bundle.fusion import FUSION_CONSTANT

BEHAVIOUR: Final = "similar"
CONTENT: Final = "content"
Asked = Literal["behaviour", "content", "both"]

_REASONS: Final = {BEHAVIOUR: "Similar to", CONTENT: "Reads like"}


@dataclass(frozen=True, slots=True)
class Found:
    """An item that is like another, by what, and how much: comparable among items of one source only."""

    item_id: str
    score: float
    source: str


@dataclass(frozen=True, eq=False, slots=True)
class _Inputs:
    """What an answer is made from, taken at one moment."""

    live: LiveModel | None
    row: int
    eligible: Mask
    texts: Texts | None
    vector: npt.NDArray[np.float32] | None
    title: str
    masks: Sequence[Mask]


class Similar:
    """Answers which items are like an item.

    Behaviour is what the served model knows; texts are compared among all items that exist now.

    Parameters
    ----------
    current
        The served version, and the texts.
    executor
        Threads for the work.
    """

    def __init__(self, current: Current, executor: Executor, clock: Clock) -> None:
        self._current = current
        self._executor = executor
        self._clock = clock

    async def similar(self, item_id: str, k: int, by: Asked = "both") -> dict[str, Any]:
        """Return the answer in its wire form, without `took_ms`.

        Raises
        ------
        ProblemError
            404 for an item that neither the model nor the texts know or that is deleted, 503 without both.
        """
        state = self._current.states.get(item_id)
        if state is not None and state.deleted:
            raise ProblemError(404, "the item is deleted; a whole version of it would bring it back")
        inputs = self._inputs(item_id, by)
        found = await asyncio.get_running_loop().run_in_executor(self._executor, _found, inputs, k, by)
        name = self._title(item_id) or item_id
        live, texts = inputs.live, self._current.texts
        degraded, reason = fallback.verdict(
            [
                None if live is not None or by == "content" else fallback.NO_MODEL,
                None if self._current.states.loaded else fallback.ITEM_STATES_UNAVAILABLE,
                None if texts is None or texts.loaded or by == "behaviour" else fallback.TEXTS_UNAVAILABLE,
            ]
        )
        return {
            "item_id": item_id,
            "by": by,
            "model_version": None if live is None else live.version,
            "items": [
                {
                    "item_id": one.item_id,
                    "rank": rank,
                    "score": one.score,
                    "source": one.source,
                    "reason": f"{_REASONS[one.source]} {name}",
                    "title": self._title(one.item_id),
                }
                for rank, one in enumerate(found, 1)
            ],
            "degraded": degraded,
            "fallback_reason": reason,
        }

    def _inputs(self, item_id: str, by: Asked) -> _Inputs:
        live, texts = self._current.live, self._current.texts
        row = MISSING if live is None else int(live.model.items.index_or_missing([item_id])[0])
        vector = None if texts is None else texts.vector(item_id)
        if row == MISSING and vector is None:
            raise _unknown(live, texts)
        if live is None and by == "behaviour":
            raise unavailable("there is no model yet; ask by content, or try again soon")
        now_us = self._clock()
        eligible = np.empty(0, dtype=np.bool_)
        if live is not None and row != MISSING:
            eligible = live.items.visible(now_us).copy()
            eligible[row] = False
        masks = () if texts is None else texts.eligible(now_us, Filter(exclude=[item_id]))
        return _Inputs(live, row, eligible, texts, vector, self._title(item_id) or "", masks)

    def _title(self, item_id: str) -> str | None:
        state = self._current.states.get(item_id)
        return None if state is None else state.title or None


def fused(lists: Sequence[Sequence[Found]], k: int) -> list[Found]:
    """Return the best of several lists by the sum of their reciprocal ranks, each with the source that ranks it best.

    >>> a, b, c = (Found(name, 1.0, "similar") for name in "abc")
    >>> [one.item_id for one in fused([[a, b], [Found("c", 0.9, "content"), Found("b", 0.5, "content")]], 3)]
    ['b', 'a', 'c']
    """
    scores: dict[str, float] = {}
    best: dict[str, tuple[int, str]] = {}
    for found in lists:
        for rank, one in enumerate(found, 1):
            scores[one.item_id] = scores.get(one.item_id, 0.0) + 1 / (FUSION_CONSTANT + rank)
            if one.item_id not in best or rank < best[one.item_id][0]:
                best[one.item_id] = rank, one.source
    order = sorted(scores, key=lambda item_id: -scores[item_id])[:k]
    return [Found(item_id, scores[item_id], best[item_id][1]) for item_id in order]


def _found(inputs: _Inputs, k: int, by: Asked) -> list[Found]:
    """Return the answer's items; runs in a thread."""
    if by == "behaviour":
        return _by_behaviour(inputs, k)
    if by == "content":
        return _by_content(inputs, k)
    return fused([_by_behaviour(inputs, k), _by_content(inputs, k)], k)


def _by_behaviour(inputs: _Inputs, k: int) -> list[Found]:
    return _of_model(inputs, k, "behaviour", BEHAVIOUR)


def _by_content(inputs: _Inputs, k: int) -> list[Found]:
    """Return items whose text is alike, of all that exist; the bundle's own neighbours where texts are not at hand."""
    if inputs.texts is None or inputs.vector is None:
        return _of_model(inputs, k, "content", CONTENT)
    hits = inputs.texts.nearest(_beside_year(inputs.vector, inputs.texts.encoder, inputs.title), k, inputs.masks)
    return [Found(hit.item_id, hit.score, CONTENT) for hit in hits]


def _beside_year(vector: npt.NDArray[np.float32], encoder: Encoder | None, title: str) -> npt.NDArray[np.float32]:
    """Return what a text says beside its year, all of it where it says nothing else, or nobody can tell."""
    if encoder is None:
        return vector
    left = beside_year(encoder, vector, title)
    return left if left.any() else vector


def _of_model(inputs: _Inputs, k: int, by: By, source: str) -> list[Found]:
    if inputs.live is None or inputs.row == MISSING:
        return []
    model = inputs.live.model
    items, scores = model.similar(inputs.row, k, inputs.eligible, by=by)
    pairs = zip(model.items.external(items), scores.tolist(), strict=True)
    return [Found(item_id, score, source) for item_id, score in pairs]


def _unknown(live: LiveModel | None, texts: Texts | None) -> ProblemError:
    if live is None and (texts is None or not texts.loaded):
        return unavailable("there is no model yet, and no text has been read; try again soon")
    known = "no model is served yet" if live is None else f"model version {live.version} does not know this item"
    return ProblemError(404, f"{known}, and no text of it is embedded")
