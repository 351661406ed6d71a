"""Events from outside: read, send to Kafka, and say of each what became of it."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Final

from features.contracts.errors import UnavailableError
from features.kafka import TopicError
from features.kafka_bulk import Message
from serving.fast_reading import fast_read
from serving.guard import Guard
from serving.losses import Losses
from serving.metrics import Metrics
from serving.problems import ProblemError, unavailable
from serving.reading import Form, Posting, read
from serving.seams import EventSink

EVENTS: Final = Form(lambda given: given, container="events")
"""Events of any type, as they travel."""


AWAY: Final = "the event log does not take events now"
NO_TOPIC: Final = "the event log has no topic for events of this kind: `python -m features topics` makes it"


class Poster:
    """Takes posted events to Kafka.

    Parameters
    ----------
    sink, guard
        Kafka, and what answers at once while it is away.
    metrics
        Counts the outcomes `accepted`, `refused` and `unavailable`.
    """

    def __init__(self, sink: EventSink, guard: Guard, metrics: Metrics) -> None:
        self._sink = sink
        self._guard = guard
        self._losses = Losses("events_not_taken", "events_taken_again")
        self._refusals = metrics.posted.refusals
        self._acknowledged = metrics.posted.acknowledged
        self._accepted, self._refused, self._unavailable = (
            metrics.posted.events.labels(outcome) for outcome in ("accepted", "refused", "unavailable")
        )

    async def post(self, raw: bytes, idempotency_key: str | None, form: Form = EVENTS) -> list[dict[str, Any]]:
        """Return a result for each event, after all accepted ones are acknowledged.

        Raises
        ------
        ProblemError
            400 or 422 if the body or an event is refused (accepted events are sent nevertheless, `results` says
            which), 503 if Kafka does not take them.
        """
        now = datetime.now(UTC)
        posting = fast_read(raw, idempotency_key, now) if form is EVENTS else None
        if posting is None:
            posting = read(raw, form, idempotency_key, now)
        await self._send(posting.messages)
        if posting.refused:
            raise self._refusal(posting)
        return posting.results

    async def _send(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        started = perf_counter()
        try:
            await self._guard.call(lambda: self._sink.send(messages))
        except UnavailableError as error:
            self._unavailable.inc(len(messages))
            missing = isinstance(error, TopicError)
            if not missing:  # the sink has said which one
                self._losses.dropped(len(messages), error)
            why = NO_TOPIC if missing else AWAY
            raise unavailable(f"{why}; send them again with the same ids or Idempotency-Key") from None
        self._acknowledged.observe(perf_counter() - started)
        self._accepted.inc(len(messages))
        self._losses.over()

    def _refusal(self, posting: Posting) -> ProblemError:
        refused, count = len(posting.refused), len(posting.results)
        self._refused.inc(refused)
        for code, number in Counter(posting.refused).items():
            self._refusals.labels(code).inc(number)
        all_of_them = "the event is refused" if count == 1 else f"all {count} events refused"
        some = f"{refused} of {count} events refused, the others accepted"
        detail = f"{all_of_them if refused == count else some}; see `results`"
        return ProblemError(422, detail, results=posting.results)
