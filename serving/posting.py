"""Events from outside: read, stamp, send to Kafka, and say of each what became of it."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from features.contracts.errors import UnavailableError
from features.contracts.event_problems import EventError
from features.contracts.events import Event, stamp_event
from serving.guard import Guard
from serving.metrics import Metrics
from serving.problems import ProblemError, unavailable
from serving.seams import EventSink

MAX_EVENTS: Final = 1_000

_STAMPED: Final = ("type", "event_id", "occurred_at", "schema_version")
"""Members that may be missing, or null, in a posted event."""

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "marquee:idempotency-key")


@dataclass(frozen=True, slots=True)
class Read:
    """One posted event: what it is, or why it is none."""

    event_id: str | None
    event: Event | None = None
    error: EventError | None = None

    def result(self) -> dict[str, Any]:
        """Return what the answer says of it."""
        if self.error is None:
            return {"event_id": self.event_id, "status": "accepted"}
        errors = [{"path": path, "message": message} for path, message in self.error.problems]
        return {"event_id": self.event_id, "status": "refused", "code": self.error.code, "errors": errors}


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
        self._metrics = metrics

    async def post(self, body: Any, idempotency_key: str | None) -> list[dict[str, Any]]:
        """Return a result for each event, after all accepted ones are acknowledged.

        Raises
        ------
        ProblemError
            422 if the body or an event is refused (accepted events are sent nevertheless, `results` says which),
            503 if Kafka does not take them.
        """
        events = events_of(body)
        reads = read_events(events, event_ids(len(events), idempotency_key), datetime.now(UTC))
        await self._send([read.event for read in reads if read.event is not None])
        results, refused = [read.result() for read in reads], sum(read.error is not None for read in reads)
        self._metrics.events.labels("refused").inc(refused)
        if refused:
            detail = f"{refused} of {len(reads)} events refused, the others accepted; see `results`"
            raise ProblemError(422, detail, results=results)
        return results

    async def _send(self, events: Sequence[Event]) -> None:
        if not events:
            return
        try:
            await self._guard.call(lambda: self._sink.send(events))
        except UnavailableError:
            self._metrics.events.labels("unavailable").inc(len(events))
            raise unavailable(
                "the event log does not take events now; send them again with the same ids or Idempotency-Key"
            ) from None
        self._metrics.events.labels("accepted").inc(len(events))


def events_of(body: Any) -> list[Any]:
    """Return the events of a body: one object, an array, or an object with the array `events`.

    Raises
    ------
    ProblemError
        422, if it is none of these, empty or too long.
    """
    match body:
        case {"events": list(events)} if len(body) == 1:
            found = events
        case list(events):
            found = events
        case dict():
            found = [body]
        case _:
            raise ProblemError(422, "expected an event, an array of events, or an object with the array `events`")
    if not 1 <= len(found) <= MAX_EVENTS:
        raise ProblemError(422, f"{len(found)} events; expected 1 to {MAX_EVENTS} in one request")
    return found


def event_ids(count: int, idempotency_key: str | None) -> list[str]:
    """Return the ids of events that bring none: by a key and the event's place, the same each time, or random ones."""
    if idempotency_key is None:
        return [str(uuid.uuid4()) for _ in range(count)]
    namespace = _namespace(idempotency_key)
    return [str(uuid.uuid5(namespace, str(place))) for place in range(count)]


def read_events(events: Sequence[Any], ids: Sequence[str], now: datetime) -> list[Read]:
    """Return posted events, stamped and decoded, in their order."""
    return [_read(fields, event_id, now) for fields, event_id in zip(events, ids, strict=True)]


def _read(fields: Any, event_id: str, now: datetime) -> Read:
    if not isinstance(fields, dict):
        return Read(None, error=EventError("not_object", [("$", "expected one JSON object")]))
    given = {name: value for name, value in fields.items() if value is not None or name not in _STAMPED}
    try:
        event = stamp_event(given, now=now, event_id=event_id)
    except EventError as error:
        own = given.get("event_id", event_id)
        return Read(own if isinstance(own, str) else None, error=error)
    return Read(event.event_id, event)


def _namespace(key: str) -> uuid.UUID:
    """Return a key that is a UUID as it is, any other text as a UUID made of it."""
    try:
        return uuid.UUID(key)
    except ValueError:
        return uuid.uuid5(_NAMESPACE, key)
