"""What a dead letter's bytes are: whether its topic's decoder takes them, and how they are mended."""

import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from features.contracts.errors import ContractError
from features.contracts.event_problems import UNREADABLE, EventError
from features.contracts.events import Event, decode_event, without_registry_header
from features.contracts.mappings import TopicMapping
from features.contracts.plausible import check_time

_EVENT_ID: Final = re.compile(r'"event_id"\s*:\s*"([^"\\\x00-\x1f]{1,64})"')
LONGEST_ID: Final = 64
_READ: Final = 65_536
"""Bytes at the beginning of broken JSON in which an id is looked for."""
_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_PATH: Final = re.compile(r"[^.\[\]]+(\[\d+\])*(\.[^.\[\]]+(\[\d+\])*)*")


class PathError(ContractError):
    """A path leads nowhere in the event that it should change."""


def check_bytes(topic: str, raw: bytes, now: datetime, mappings: Mapping[str, TopicMapping]) -> Event:
    """Return the event that a topic's decoder makes of some bytes.

    Parameters
    ----------
    topic
        Where they would be sent.
    raw
        The message.
    now
        Aware UTC; the far future begins a day after it.
    mappings
        Of the topics of other services, by topic.

    Raises
    ------
    EventError
        If landing would refuse them.
    """
    event = mappings[topic].decode(raw) if topic in mappings else decode_event(raw)
    check_time(event.occurred_at, now)
    return event


def set_members(raw: bytes, changes: Mapping[str, Any]) -> bytes:
    """Return a message with some members changed, by paths such as `user_id`, `context.query`, `items[2].item_id`.

    Raises
    ------
    PathError
        If the message is no JSON object, or a path leads through something that is not there.
    """
    fields = _object(raw)
    if fields is None:
        raise PathError("the bytes are no JSON object, so no member of them can be set; give the whole event (--raw)")
    for path, value in changes.items():
        _set(fields, path, value)
    return msgspec.json.encode(fields)


def keep_event_id(original: bytes, mended: bytes, fallback: str) -> bytes:
    """Return the mended message with the event id of the original, so that both stay one event.

    Parameters
    ----------
    original
        The bytes as they came; an id is found in broken JSON, too.
    mended
        The new bytes, a JSON object.
    fallback
        The id to take where neither names one.

    Raises
    ------
    EventError
        If both name an id, and not the same.
    """
    fields = _object(mended)
    if fields is None:
        return mended  # the decoder will say what is wrong
    known = _event_id(original)
    given = fields.get("event_id")
    if given is None:
        return msgspec.json.encode({**fields, "event_id": known or fallback})
    if known is not None and given != known:
        problem = f"{given!r:.80}; expected the original's {known!r}, so that the event lands once"
        raise EventError("invalid_field", [("event_id", problem)])
    return mended


def id_of_place(topic: str, partition: int, offset: int, landed_at: datetime) -> str:
    """Return the event id of a letter that had none: always the same for one letter."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{topic}/{partition}/{offset}/{landed_at.isoformat()}"))


def _event_id(raw: bytes) -> str | None:
    """Return the event id that some bytes name, whole JSON or not."""
    fields = _object(raw)
    if fields is None:
        found = _EVENT_ID.search(raw[:_READ].decode(errors="replace"))
        return found[1] if found else None
    named = fields.get("event_id")
    return named if isinstance(named, str) and 1 <= len(named) <= LONGEST_ID else None


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        fields = msgspec.json.decode(without_registry_header(raw))
    except UNREADABLE:
        return None
    return fields if isinstance(fields, dict) else None


def _set(fields: dict[str, Any], path: str, value: object) -> None:
    if not _PATH.fullmatch(path):
        raise PathError(f"path {path!r:.100}; expected names and places such as `context.query` or `items[2].item_id`")
    steps: list[str | int] = [int(place) if place else name for name, place in _STEP.findall(path)]
    target: Any = fields
    for step in steps[:-1]:
        target = _inside(target, step, path)
    _inside(target, steps[-1], path, last=True)
    target[steps[-1]] = value


def _inside(target: Any, step: str | int, path: str, *, last: bool = False) -> Any:
    """Return what lies one step further, None where the last step may make it."""
    if isinstance(step, int):
        if isinstance(target, list) and step < len(target):
            return target[step]
    elif isinstance(target, dict) and (step in target or last):
        return target.get(step)
    raise PathError(f"path {path!r:.100}: the event has nothing at {step!r}; set the whole of what holds it")
