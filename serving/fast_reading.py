"""The short way for what nearly all bodies hold, interactions that are right: decoded once, stamped, encoded.

It answers as `serving.reading` does, or not at all: whatever is odd takes the long way, which says what is wrong.
"""

import re
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from features.contracts.event_problems import MAX_EVENT_BYTES, UNREADABLE, EventError, spells_nul
from features.contracts.events import MAX_ID, EventId, Id, Instant, Json, Text, Word
from features.contracts.nesting import MAX_DEPTH, depth_of
from features.contracts.plausible import check_time
from features.kafka import INTERACTIONS
from features.kafka_bulk import Message
from serving.posted import MAX_EVENTS
from serving.reading import Posting, event_ids, stamp_at

_AROUND_CONTEXT: Final = 3
"""Levels of a body that lie around an event's context."""


class PostedInteraction(msgspec.Struct, kw_only=True, tag_field="type", tag="interaction"):
    """An interaction whose stamps may be missing; once they are set, its encoding is the wire form."""

    event_id: EventId | None = None
    occurred_at: Instant | None = None
    schema_version: Literal[1] | None = None
    user_id: Id
    item_id: Id | None
    action: Word
    value: float | None = None
    recommendation_id: Text | None = None
    context: Json = {}


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    """A body that holds an array alone."""

    events: list[PostedInteraction]


_encode: Final = msgspec.json.Encoder().encode
_decode_one: Final = msgspec.json.Decoder(PostedInteraction).decode
_decode_array: Final = msgspec.json.Decoder(list[PostedInteraction]).decode
_decode_batch: Final = msgspec.json.Decoder(_Batch).decode
_BATCH: Final = re.compile(rb'\s*\{\s*"events"')
_ARRAY: Final = re.compile(rb"\s*\[")


class _OddError(Exception):
    """The long way must look at this body."""


def fast_read(raw: bytes, idempotency_key: str | None, now: datetime) -> Posting | None:
    """Return what a body of right interactions holds, None if it is anything else; parameters as in `read`."""
    if spells_nul(raw):
        return None
    try:
        events = _decoded(raw)
        if not 1 <= len(events) <= MAX_EVENTS:
            return None
        posting = Posting()
        for place, (event, event_id) in enumerate(zip(events, event_ids(len(events), idempotency_key), strict=True)):
            _add(posting, event, event_id, stamp_at(now, place))
    except (*UNREADABLE, EventError, _OddError):
        return None
    return posting


def _decoded(raw: bytes) -> list[PostedInteraction]:
    if _BATCH.match(raw):
        return _decode_batch(raw).events
    return _decode_array(raw) if _ARRAY.match(raw) else [_decode_one(raw)]


def _add(posting: Posting, event: PostedInteraction, event_id: str, now: datetime) -> None:
    if event.item_id is None and event.action != "search":
        raise _OddError
    if event.context and depth_of(event.context) > MAX_DEPTH - _AROUND_CONTEXT:
        raise _OddError
    if event.event_id is None:
        event.event_id = event_id
    if event.occurred_at is None:
        event.occurred_at = now
    else:
        check_time(event.occurred_at, now)
    event.schema_version = 1
    event.user_id = user_id = _text(event.user_id)
    if type(event.item_id) is int:
        event.item_id = _text(event.item_id)
    value = _encode(event)
    if len(value) > MAX_EVENT_BYTES:
        raise _OddError
    posting.accept(event.event_id, Message(INTERACTIONS, user_id.encode(), value))


def _text(given: Any) -> str:
    if type(given) is str:
        return given
    if len(text := str(given)) >= MAX_ID:
        raise _OddError
    return text
