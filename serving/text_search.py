"""Search in the texts of all items that exist now."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

from features.text.encoder import Encoder, query_of
from features.text.folding import fold
from serving import fallback
from serving.asks import DEFAULT_K, MAX_K
from serving.clock import Clock
from serving.item_states import Mask
from serving.live import Current
from serving.metrics import Metrics
from serving.problems import ProblemError, unavailable
from serving.texts import Filter, Hit, Texts

MAX_QUERY: Final = 2000
"""Characters of a query that a request may hold; the encoder reads the first of them."""
NAMED_AMONG: Final = MAX_K
"""Nearest texts among which one is looked for whose title is the query; as many for any k, which cuts one order."""
NO_TEXTS: Final = (
    "no text is embedded yet: an encoder is fitted once there are texts enough; see GET /api/v1/items/stats"
)


@dataclass(frozen=True, slots=True)
class SearchAsk:
    """What is searched for, and among what."""

    query: str
    k: int = DEFAULT_K
    categories: Sequence[str] = ()
    exclude: Sequence[str] = ()
    include_hidden: bool = False

    @property
    def filter(self) -> Filter:
        """Return what may be found."""
        return Filter(self.categories, self.exclude, self.include_hidden)


class Search:
    """Answers searches from memory, each from one generation of texts: query and texts are always by one encoder.

    Parameters
    ----------
    current
        What can be searched.
    executor
        Threads of its own: a search of a large catalogue holds up no recommendation.
    """

    def __init__(self, current: Current, executor: Executor, metrics: Metrics, clock: Clock) -> None:
        self._current = current
        self._executor = executor
        self._metrics = metrics
        self._clock = clock

    async def search(self, ask: SearchAsk) -> dict[str, Any]:
        """Return the answer in its wire form, without `took_ms`.

        Raises
        ------
        ProblemError
            503, if there is nothing to search in, or nothing that could read the query.
        """
        live, texts, states = self._current.live, self._current.texts, self._current.states
        texts, encoder = _readable(texts)
        with self._metrics.search_stage("filter"):
            eligible = texts.eligible(self._clock(), ask.filter)
        loop = asyncio.get_running_loop()
        near = await loop.run_in_executor(self._executor, self._found, texts, encoder, ask, eligible)
        titled = [(hit, None if (state := states.get(hit.item_id)) is None else state.title or None) for hit in near]
        degraded, reason = fallback.verdict(
            [
                None if states.loaded else fallback.ITEM_STATES_UNAVAILABLE,
                None if texts.loaded else fallback.TEXTS_UNAVAILABLE,
            ]
        )
        return {
            "query": ask.query,
            "items": [
                {"item_id": hit.item_id, "rank": rank, "score": hit.score, "title": title}
                for rank, (hit, title) in enumerate(_named_first(ask.query, titled)[: ask.k], 1)
            ],
            "encoder": texts.digest,
            "model_version": None if live is None else live.version,
            "degraded": degraded,
            "fallback_reason": reason,
        }

    def _found(self, texts: Texts, encoder: Encoder, ask: SearchAsk, eligible: Sequence[Mask]) -> list[Hit]:
        with self._metrics.search_stage("encode"):
            query = query_of(encoder, ask.query)
        with self._metrics.search_stage("search"):
            return texts.search(query, max(ask.k, NAMED_AMONG), eligible)


def _named_first(query: str, titled: Sequence[tuple[Hit, str | None]]) -> list[tuple[Hit, str | None]]:
    """Return hits, those first whose title is the query: "1984" is nearer to a volume that holds it twice."""
    named = _name(query)
    return sorted(titled, key=lambda one: one[1] is None or _name(one[1]) != named)


def _name(title: str) -> str:
    """Return a title as it is compared with another: "&" is a word there, which texts and queries lose."""
    return " ".join(fold(title.replace("&", " and ")).split())


def _readable(texts: Texts | None) -> tuple[Texts, Encoder]:
    """Return texts that can be searched, and their encoder.

    Raises
    ------
    ProblemError
        503.
    """
    if texts is None:
        raise unavailable(NO_TEXTS)
    if texts.encoder is None:
        raise _without_encoder(texts.digest)
    if not texts.loaded and texts.base is None:
        raise unavailable("the texts have not been read yet; try again soon")
    return texts, texts.encoder


def _without_encoder(digest: str) -> ProblemError:
    return unavailable(
        f"the encoder {digest[:12]} of these texts cannot be loaded now, the server's log says why; "
        "recommendations and similar items are not affected"
    )
