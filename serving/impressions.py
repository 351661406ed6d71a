"""What was shown goes to Kafka after the answer: never delays it, is bounded, and counts what it had to drop."""

import asyncio
from collections import deque
from functools import partial
from typing import Final

from features.contracts.errors import UnavailableError
from features.contracts.events import Impression
from features.contracts.times import from_us
from features.kafka import message_of
from serving.asks import Ask
from serving.boundary import done
from serving.guard import Guard
from serving.listed import Listed
from serving.losses import Losses
from serving.metrics import Metrics
from serving.seams import EventSink

QUEUE_LIMIT: Final = 10_000
BATCH: Final = 500
GATHER_S: Final = 0.25
"""How long impressions gather before they leave together: nobody waits for them, and each departure costs the
client's thread milliseconds, however little it holds (a tenth of a core of each worker at 0.05 s). A process that is
killed takes as much of them with it."""


def impression_of(ask: Ask, listed: Listed, *, recommendation_id: str, event_id: str, as_of_us: int) -> Impression:
    """Return the event that tells what an answer showed.

    Parameters
    ----------
    ask
        Of a user who has an id.
    event_id
        Of the impression.
    as_of_us
        When the list was shown, microseconds since 1970 UTC.
    """
    return Impression(
        event_id=event_id,
        occurred_at=from_us(as_of_us),
        schema_version=1,
        user_id=ask.user_id or "",
        recommendation_id=recommendation_id,
        model_version=listed.model_version,
        experiment_id=ask.experiment_id,
        context=dict(ask.context),
        items=list(listed.shown),
    )


class Impressions:
    """A bounded queue of impressions on their way to Kafka.

    Parameters
    ----------
    sink, guard
        Where they go, and what keeps a dead broker from being asked again and again.
    metrics
        Counts the outcomes `sent` and `dropped`.
    """

    def __init__(self, sink: EventSink, guard: Guard, metrics: Metrics, limit: int = QUEUE_LIMIT) -> None:
        self._sink = sink
        self._guard = guard
        self._metrics = metrics
        self._limit = limit
        self._queue: deque[Impression] = deque()
        self._offered = asyncio.Event()
        self._losses = Losses("impressions_dropped", "impressions_go_on")

    def offer(self, impression: Impression) -> None:
        """Take an impression for sending; when the queue is full it is dropped and counted."""
        if len(self._queue) >= self._limit:
            self._count("dropped", 1)
            return
        self._queue.append(impression)
        self._offered.set()

    async def run(self) -> None:
        """Send what is offered, until cancelled; what has not left by then is for `flush`."""
        while True:
            await self._offered.wait()
            self._offered.clear()
            await asyncio.sleep(GATHER_S)
            await self.flush()

    async def flush(self) -> None:
        """Send what waits, in one attempt."""
        while batch := self._waiting(BATCH):
            if not await done(partial(self._send, batch), "impressions_defect", count=len(batch)):
                self._count("dropped", len(batch))

    async def _send(self, batch: list[Impression]) -> None:
        messages = [message_of(impression) for impression in batch]
        try:
            await self._guard.call(lambda: self._sink.send(messages))
        except UnavailableError as error:
            self._count("dropped", len(batch))
            self._losses.dropped(len(batch), error)
        except asyncio.CancelledError:
            # Some may have arrived: their ids make a second sending harmless.
            self._queue.extendleft(reversed(batch))
            raise
        else:
            self._count("sent", len(batch))
            self._losses.over()

    def _waiting(self, at_most: int) -> list[Impression]:
        return [self._queue.popleft() for _ in range(min(at_most, len(self._queue)))]

    def _count(self, outcome: str, number: int) -> None:
        self._metrics.lists.impressions.labels(outcome).inc(number)
