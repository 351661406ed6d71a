"""Posted JSON becomes messages for Kafka, and a result for each event: accepted, or refused with every reason."""

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha1
from typing import Any, Final

import msgspec

from features.contracts.event_problems import UNREADABLE, EventError
from features.contracts.events import Event, stamp_event
from features.contracts.plausible import check_time
from features.kafka import message_of
from features.kafka_bulk import Message
from serving.bodies import shallow, unreadable
from serving.posted import MAX_EVENTS
from serving.problems import MOST_ERRORS, ProblemError

STAMPED: Final = ("type", "event_id", "occurred_at", "schema_version")
"""Members that may be missing, or null, in a posted event."""

_UNTOLD: Final = (("$", f"not looked into: {MOST_ERRORS} problems are named in one answer"),)

_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""A UUID's 17th digit, of which the upper two bits are fixed."""
_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "marquee:idempotency-key")


@dataclass(slots=True)
class Posting:
    """What a body holds: messages to send, and a result for each event in its place."""

    messages: list[Message] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Code of each refusal."""
    told: int = 0
    """Problems that are named so far."""

    def accept(self, event_id: str, message: Message) -> None:
        """Add an event that is one."""
        self.messages.append(message)
        self.results.append({"event_id": event_id, "status": "accepted"})

    def refuse(self, event_id: str | None, error: EventError) -> None:
        """Add an event that is none; its problems are looked for while the answer has room for them."""
        problems = error.problems if self.told < MOST_ERRORS else _UNTOLD
        self.told += len(problems)
        errors = [{"path": path, "message": message} for path, message in problems]
        self.refused.append(error.code)
        self.results.append({"event_id": event_id, "status": "refused", "code": error.code, "errors": errors})


@dataclass(frozen=True, slots=True)
class Form:
    """What a route takes.

    Attributes
    ----------
    fields
        The members of an event from those that were posted; raises `EventError`.
    container
        The member under which an object may hold an array of them; None where a body is always one.
    type
        Of events that do not say it.
    """

    fields: Callable[[dict[str, Any]], dict[str, Any]]
    container: str | None = None
    type: str = "interaction"


def read(raw: bytes, form: Form, idempotency_key: str | None, now: datetime) -> Posting:
    """Return what the bytes of a body hold.

    Parameters
    ----------
    raw
        JSON.
    form
        What the route takes.
    idempotency_key
        Gives events without an id the same one each time.
    now
        When it came, aware UTC: the time of events that bring none (`stamp_at`).

    Raises
    ------
    ProblemError
        400 if it is not JSON, 422 if it does not hold 1 to `MAX_EVENTS` objects.
    """
    events = events_of(plain(raw), form)
    posting = Posting()
    for place, (given, event_id) in enumerate(zip(events, event_ids(len(events), idempotency_key), strict=True)):
        _read_one(posting, given, form, event_id, stamp_at(now, place))
    return posting


def stamp_at(now: datetime, place: int) -> datetime:
    """Return the time of a body's event that brings none: a microsecond after the one before it.

    At one time for all of them chance would say which was last, of two versions of an item or two acts of a user.
    """
    return now + timedelta(microseconds=place)


def plain(raw: bytes) -> Any:
    """Return JSON as plain data.

    Raises
    ------
    ProblemError
        400, if it is not JSON or nested too deeply; 415, if it is compressed.
    """
    try:
        data = msgspec.json.decode(raw)
    except UNREADABLE as error:
        raise unreadable(raw, error) from None
    return shallow(data)


def events_of(body: Any, form: Form) -> list[Any]:
    """Return the events of a body: one object, an array, or an object that holds an array alone.

    Raises
    ------
    ProblemError
        422, if it is none of these, empty or too long.
    """
    name = form.container
    found: list[Any]
    if name is not None and isinstance(body, dict) and len(body) == 1 and isinstance(body.get(name), list):
        found = body[name]
    elif name is not None and isinstance(body, list):
        found = body
    elif isinstance(body, dict):
        found = [body]
    else:
        more = "" if name is None else f", an array of objects, or an object with the array `{name}`"
        raise ProblemError(422, f"expected one object{more}")
    if not 1 <= len(found) <= MAX_EVENTS:
        raise ProblemError(422, f"{len(found)} events; expected 1 to {MAX_EVENTS} in one request")
    return found


def event_ids(count: int, idempotency_key: str | None) -> list[str]:
    """Return the ids of events that bring none: by a key and the event's place, the same each time, or random ones."""
    if idempotency_key is None:
        return [random_id() for _ in range(count)]
    namespace = _namespace(idempotency_key).bytes
    digests = (sha1(namespace + b"%d" % place, usedforsecurity=False) for place in range(count))
    return [_uuid_text(digest.digest()[:16], 5) for digest in digests]


def _read_one(posting: Posting, given: Any, form: Form, event_id: str, now: datetime) -> None:
    if not isinstance(given, dict):
        posting.refuse(None, EventError("not_object", [("$", "expected one JSON object")]))
        return
    said = {name: value for name, value in given.items() if value is not None or name not in STAMPED}
    try:
        event = _event(said, form, event_id, now)
    except EventError as error:
        own = said.get("event_id", event_id)
        posting.refuse(own if isinstance(own, str) else None, error)
    else:
        posting.accept(event.event_id, message_of(event))


def _event(said: dict[str, Any], form: Form, event_id: str, now: datetime) -> Event:
    event = stamp_event(form.fields(said), now=now, event_id=event_id, default_type=form.type)
    check_time(event.occurred_at, now)
    return event


_noise: Final[list[bytes]] = []
_NOISE_AT_ONCE: Final = 256


def random_id() -> str:
    """Return a random UUID; the system's randomness is asked for many at once, since each call of it costs."""
    if not _noise:
        drawn = os.urandom(16 * _NOISE_AT_ONCE)
        _noise.extend(drawn[start : start + 16] for start in range(0, len(drawn), 16))
    return _uuid_text(_noise.pop(), 4)


def _uuid_text(raw: bytes, version: int) -> str:
    """Return 16 bytes as a UUID of some version, as `uuid.UUID` writes it, for a third of its time."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{version}{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:]}"


def _namespace(key: str) -> uuid.UUID:
    """Return a key that is a UUID as it is, any other text as a UUID made of it."""
    try:
        return uuid.UUID(key)
    except ValueError:
        return uuid.uuid5(_NAMESPACE, key)
