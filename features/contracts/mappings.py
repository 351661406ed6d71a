"""Topics of other services: their messages become events of ours, as a file says and without code."""

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import UNSET

from features.contracts.event_problems import (
    MAX_EVENT_BYTES,
    SCHEMA_VERSION,
    UNREADABLE,
    EventError,
    diagnose_message,
    holds_nul,
    spells_nul,
    too_deep,
)
from features.contracts.events import EVENT_TYPES, BaseEvent, Event, EventId, without_registry_header
from features.contracts.mapping_form import SHIPPED, DerivedId, MappingError, TopicForm, read_forms, source_of
from features.contracts.mapping_sources import Canonical, MessageForm, Read, Values, reader_of
from features.contracts.nesting import MAX_DEPTH, depth_of, may_be_deep

_NAMESPACE: Final = uuid.UUID("a0a5ba52-1f9c-5e52-8a41-6a9c1d1f6c55")
"""Of event ids derived from messages; any fixed UUID, so that a message gives the same id for ever."""
_STAMPED: Final = frozenset({"event_id", "schema_version"})


@dataclass(frozen=True, slots=True)
class TopicMapping:
    """How messages of one topic become events.

    Attributes
    ----------
    topic
        Its name.
    kind
        What a message becomes.
    """

    topic: str
    kind: type[BaseEvent]
    _message: type[msgspec.Struct]
    _decode: Callable[[bytes], Any]
    _values: Callable[[Any], Values]
    _event_id: Callable[[Values], str]
    _members: Sequence[tuple[str, Read]]

    def decode(self, raw: bytes) -> Event:
        """Return the event that a message of this topic means.

        Raises
        ------
        EventError
            With a reason code and one problem for each wrong field, by the producer's own name for it.
        """
        raw = without_registry_header(raw)
        if len(raw) > MAX_EVENT_BYTES or (spells_nul(raw) and holds_nul(raw)):
            raise diagnose_message(raw, self._message)
        try:
            values = self._values(self._decode(raw))
        except UNREADABLE:
            raise diagnose_message(raw, self._message) from None
        # Before anything is made of them: deriving an id spells values, too. Around a value are event and member.
        if may_be_deep(raw) and (levels := 1 + depth_of([*values])) > MAX_DEPTH:
            raise too_deep(levels)
        members = {name: value for name, read in self._members if (value := read(values)) is not UNSET}
        try:
            event = self.kind(event_id=self._event_id(values), schema_version=SCHEMA_VERSION, **members)
        except ValueError as error:
            raise EventError("invalid_field", [("$", str(error))]) from None
        return event  # type: ignore[return-value]  # every form is one of the union


def load_mappings(path: Path | None = None) -> Mapping[str, TopicMapping]:
    """Return the mappings of a file by topic; of the shipped file if none is named.

    Raises
    ------
    MappingError
        Naming file, topic and field of what cannot be used.
    """
    file = path or SHIPPED
    found = {}
    for topic, form in read_forms(file).items():
        try:
            found[topic] = _mapping(topic, form)
        except MappingError as error:
            raise MappingError(f"{file}: topic {topic}: {error}") from None
    return MappingProxyType(found)


def _mapping(topic: str, form: TopicForm) -> TopicMapping:
    kind = EVENT_TYPES[form.event]
    targets = {field.name: field for field in msgspec.structs.fields(kind) if field.name not in _STAMPED}
    if unknown := sorted(set(form.members) - set(targets)):
        raise MappingError(f"members {', '.join(unknown)}: {form.event} has only {', '.join(targets)}")
    required = {name for name, field in targets.items() if field.required}
    if missing := sorted(required - set(form.members)):
        raise MappingError(f"members: {', '.join(missing)} missing, which every {form.event} has")
    message = MessageForm()
    members = []
    for name, said in form.members.items():
        source = source_of(name, said)
        if source.optional and name in required:
            raise MappingError(f"members.{name}: optional, but every {form.event} has one")
        try:
            members.append((name, reader_of(source, targets[name].type, message)))
        except MappingError as error:
            raise MappingError(f"members.{name}: {error}") from None
    event_id = _event_id(topic, form.event_id, message)
    struct, values = message.compile(topic)
    return TopicMapping(topic, kind, struct, msgspec.json.Decoder(struct).decode, values, event_id, tuple(members))


def _event_id(topic: str, form: str | DerivedId, message: MessageForm) -> Callable[[Values], str]:
    if isinstance(form, str):
        at = message.need(form, EventId | int)
        return lambda values: str(values[at])
    parts = [message.canonical(path) for path in form.derived_from]
    return _derive(topic, parts)


def _derive(topic: str, parts: Sequence[tuple[int, Canonical]]) -> Callable[[Values], str]:
    """Return the function that derives event ids: uuid5, written out since `uuid.uuid5` takes thrice as long."""
    encode = msgspec.json.Encoder().encode
    sha1 = hashlib.sha1
    start = _NAMESPACE.bytes

    def derive(values: Values) -> str:
        content = encode([topic, *[canonical(values[at]) for at, canonical in parts]])
        digest = sha1(start + content, usedforsecurity=False).hexdigest()
        variant = "89ab"[int(digest[16], 16) & 3]
        return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"

    return derive
