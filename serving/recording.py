"""What was served goes to Postgres after the answer, for a share of all requests: never delays it, and is bounded."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
import orjson
import structlog

from features.contracts.errors import MarqueeError, UnavailableError
from features.contracts.ids import MISSING
from features.served import Considered, Origin, ServedList
from serving.asks import Ask
from serving.boundary import done
from serving.guard import Guard
from serving.inputs import Inputs
from serving.listed import Listed
from serving.losses import Losses
from serving.metrics import Metrics
from serving.seams import Model
from training.bundle.result import Recommendations

log = structlog.get_logger(__name__)

QUEUE_LIMIT: Final = 200
"""Lists that may wait: each holds on to its feature rows and a mask of the catalogue."""
BATCH: Final = 50
_BITS: Final = 64


class Sink(Protocol):
    """Where records go: `features.served.ServedStore`."""

    async def add(self, lists: Sequence[ServedList]) -> int:
        """Keep lists and return how many were kept; `UnavailableError` when Postgres is away."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Made:
    """What a list was made from, and what the recommender made of it (None where no candidate was left)."""

    inputs: Inputs
    ranked: Recommendations | None


@dataclass(frozen=True, eq=False, slots=True)
class Shown:
    """A list that was shown, and how it came about.

    Attributes
    ----------
    at_us
        When the request came, microseconds since 1970 UTC.
    took_s
        Seconds by step.
    """

    ask: Ask
    listed: Listed
    recommendation_id: str
    at_us: int
    took_s: Mapping[str, float]


def is_recorded(recommendation_id: str, share: float) -> bool:
    """Return whether a request belongs to the share that is recorded; the same for an id each time.

    >>> is_recorded("any", 0.0), is_recorded("any", 1.0)
    (False, True)
    """
    digest = hashlib.blake2b(recommendation_id.encode(errors="surrogatepass"), digest_size=_BITS // 8).digest()
    return int.from_bytes(digest, "big") < share * 2.0**_BITS


class Records:
    """A bounded queue of lists on their way to Postgres.

    Parameters
    ----------
    sink, guard
        Where they go, and what keeps a dead Postgres from being asked again and again.
    metrics
        Counts the outcomes `kept`, `dropped`, `refused` and `erased` (of a user who was erased meanwhile).
    share
        Of all requests, 0 to 1.
    """

    def __init__(self, sink: Sink, guard: Guard, metrics: Metrics, share: float, limit: int = QUEUE_LIMIT) -> None:
        self._sink = sink
        self._guard = guard
        self._metrics = metrics
        self._share = share
        self._queue: asyncio.Queue[Shown] = asyncio.Queue(limit)
        self._broken_off: list[Shown] = []
        self._losses = Losses("records_dropped", "records_go_on")

    def wants(self, recommendation_id: str) -> bool:
        """Return whether the list of this id is to be recorded."""
        return self._share > 0 and is_recorded(recommendation_id, self._share)

    def offer(self, shown: Shown) -> None:
        """Take a list for keeping; when the queue is full it is dropped and counted."""
        try:
            self._queue.put_nowait(shown)
        except asyncio.QueueFull:
            self._count("dropped", 1)

    async def run(self) -> None:
        """Keep what is offered, until cancelled; what was not kept by then is for `flush`."""
        while True:
            # No name for it here: it would hold on to the list, and to its bundle, until the next one comes.
            await self._keep_or_say([await self._queue.get(), *self._waiting(BATCH - 1)])

    async def _keep_or_say(self, batch: list[Shown]) -> None:
        if not await done(partial(self._keep, batch), "records_defect", count=len(batch)):
            self._count("dropped", len(batch))

    async def flush(self) -> None:
        """Keep what still waits, in one attempt; what there is no time for is dropped and counted."""
        try:
            while batch := self._rest():
                await self._keep_or_say(batch)
        except asyncio.CancelledError:
            self._count("dropped", len(self._broken_off) + self._queue.qsize())
            raise

    async def _keep(self, batch: list[Shown]) -> None:
        try:
            await self._add(await asyncio.to_thread(lambda: [served_list(shown) for shown in batch]))
        except UnavailableError as error:
            self._count("dropped", len(batch))
            self._losses.dropped(len(batch), error)
        except asyncio.CancelledError:
            # Some may be there: one that is there already stays as it is.
            self._broken_off = batch
            raise

    async def _add(self, lists: list[ServedList]) -> None:
        """Hand lists over; what makes Postgres refuse them is found by handing over each alone."""
        try:
            kept = await self._guard.call(lambda: self._sink.add(lists))
        except UnavailableError:
            raise
        except (MarqueeError, UnicodeEncodeError) as error:
            if len(lists) == 1:
                self._count("refused", 1)
                log.warning("record_refused", recommendation_id=lists[0].recommendation_id, error=type(error).__name__)
                return
            for one in lists:
                await self._add([one])
        else:
            self._losses.over()
            self._count("kept", kept)
            self._count("erased", len(lists) - kept)

    def _rest(self) -> list[Shown]:
        """Return some of what is left at the end: first what was being kept then."""
        batch, self._broken_off = self._broken_off, []
        return batch or self._waiting(BATCH)

    def _waiting(self, at_most: int) -> list[Shown]:
        return [self._queue.get_nowait() for _ in range(min(at_most, self._queue.qsize()))]

    def _count(self, outcome: str, number: int) -> None:
        self._metrics.lists.records.labels(outcome).inc(number)


def served_list(shown: Shown) -> ServedList:
    """Return a list as it is recorded."""
    listed, made = shown.listed, shown.listed.made
    items: list[dict[str, Any]] = orjson.loads(listed.items)
    return ServedList(
        recommendation_id=shown.recommendation_id,
        user_id=shown.ask.user_id,
        served_at_us=shown.at_us,
        request=_request(shown.ask, made),
        model_version=listed.model_version,
        history_event_ids=() if made is None else made.inputs.history.event_ids,
        item_ids=[item["item_id"] for item in items],
        scores=[np.nan if item["score"] is None else item["score"] for item in items],
        sources=[item["source"] for item in items],
        reasons=[item["reason"] for item in items],
        degraded=listed.degraded,
        fallback_reason=listed.fallback_reason,
        lacking=listed.lacking,
        took_s=dict(shown.took_s),
        origin=None if made is None else _origin(made.inputs),
        considered=None if made is None else _considered(made),
    )


def _request(ask: Ask, made: Made | None) -> dict[str, Any]:
    """Return what was asked for as plain JSON; of what kind the list was and how it was mixed, as it was applied."""
    asked = asdict(ask)
    del asked["user_id"], asked["in_full"]
    if made is not None:
        options, wish, model = made.inputs.options, made.inputs.wish, made.inputs.live.model
        asked |= {name: getattr(options, name) for name in ("diversity", "fresh_share", "fresh_draw")}
        named = None if wish.item == MISSING else model.items.external(np.array([wish.item]))[0]
        asked |= {"kind": wish.kind, "item_id": named}
    return asked


def _origin(inputs: Inputs) -> Origin:
    live, model = inputs.live, inputs.live.model
    return Origin(
        bundle_digest=model.digest,
        spec_hash=model.manifest.spec_hash,
        as_of_us=inputs.as_of_us,
        statistics_closed_at_us=inputs.statistics.closed_at_us,
        own_statistics=inputs.statistics is model.statistics,
        allowed=model.allowed(model.encode([inputs.history]), inputs.options),
        arrivals=arrivals_digest(model, live.n_arrivals),
    )


def arrivals_digest(model: Model, n_arrivals: int) -> str | None:
    """Return what identifies the first items that joined a model since its bundle was made, and all they are."""
    return model.arrived[n_arrivals - 1] if n_arrivals else None


def _considered(made: Made) -> Considered | None:
    if made.ranked is None or not made.ranked.traces:
        return None
    model, trace = made.inputs.live.model, made.ranked.traces[0]
    return Considered(
        ordered_by=trace.order_by,
        feature_names=model.spec.names,
        source_names=model.source_names,
        item_ids=model.items.external(trace.candidates),
        rows=trace.rows,
        ranks=trace.ranks,
        scores=trace.scores,
        unmet=trace.unmet,
    )
