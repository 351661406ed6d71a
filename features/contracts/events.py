"""The closed, versioned union of events: the wire forms that everyone produces and reads, decoded once.

Ids arrive as text or as JSON integers and are text from here on. Instants arrive as RFC 3339 with any offset and are
UTC from here on. Members that a form does not name are ignored, so that a producer may be newer than we are.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import force_setattr

from features.contracts.event_problems import (
    MAX_EVENT_BYTES,
    SCHEMA_VERSION,
    UNREADABLE,
    diagnose,
    holds_nul,
    spells_nul,
    too_deep,
)
from features.contracts.nesting import MAX_DEPTH, depth_of, may_be_deep

MAX_ID: Final = 256
_TOO_LONG: Final = 10 ** (MAX_ID - 1)

Text = Annotated[str, Meta(max_length=256)]
LongText = Annotated[str, Meta(max_length=100_000)]
Id = Annotated[str, Meta(min_length=1, max_length=256)] | int
EventId = Annotated[str, Meta(min_length=1, max_length=64)]
Word = Annotated[str, Meta(pattern=r"\A[a-z_]{1,32}\Z")]
Instant = Annotated[datetime, Meta(tz=True)]
Json = dict[str, Any]


def _text_ids(event: msgspec.Struct, names: tuple[str, ...]) -> None:
    """Turn the ids that came as JSON integers into decimal text."""
    for name in names:
        if type(value := getattr(event, name)) is int:
            # A longer one could be sent, but not be read again: as text it is refused.
            if abs(value) >= _TOO_LONG:
                raise ValueError(f"{name} is an integer of {MAX_ID} digits or more")
            force_setattr(event, name, str(value))


def _to_utc(event: msgspec.Struct, names: tuple[str, ...]) -> None:
    """Turn instants with an offset into UTC."""
    for name in names:
        value = getattr(event, name)
        if isinstance(value, datetime) and value.tzinfo is not UTC:
            try:
                force_setattr(event, name, value.astimezone(UTC))
            except OverflowError as error:
                raise ValueError(f"{name} {value.isoformat()} is outside the years 1 to 9999 in UTC") from error


class BaseEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", gc=False):
    """What every event carries: its identity, when it happened (UTC), and the version of its form."""

    IDS: ClassVar[tuple[str, ...]] = ()
    INSTANTS: ClassVar[tuple[str, ...]] = ("occurred_at",)

    event_id: EventId
    occurred_at: Instant
    schema_version: Literal[1]

    def __post_init__(self) -> None:
        """Bring ids to text and instants to UTC."""
        _text_ids(self, self.IDS)
        _to_utc(self, self.INSTANTS)


class Interaction(BaseEvent, frozen=True, kw_only=True, tag="interaction"):
    """A user acted on an item; only a `search` has no item."""

    IDS: ClassVar[tuple[str, ...]] = ("user_id", "item_id")

    user_id: Id
    item_id: Id | None
    action: Word
    value: float | None = None
    recommendation_id: Text | None = None
    context: Json = {}

    def __post_init__(self) -> None:
        """Bring ids to text and the instant to UTC, and check what no single field can tell."""
        # Written out, and free of loops: most events are of this kind, and most need neither.
        if type(self.user_id) is int or type(self.item_id) is int:
            _text_ids(self, self.IDS)
        if self.occurred_at.tzinfo is not UTC:
            _to_utc(self, self.INSTANTS)
        if self.item_id is None and self.action != "search":
            raise ValueError(f"item_id is null, which only the action 'search' may have, not {self.action!r}")


class ShownItem(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One place of a list that was shown, counted from 1."""

    item_id: Id
    position: Annotated[int, Meta(ge=1, le=10_000)]
    source: Text | None = None
    score: float | None = None
    propensity: float | None = None

    def __post_init__(self) -> None:
        """Bring the id to text."""
        _text_ids(self, ("item_id",))


class Impression(BaseEvent, frozen=True, kw_only=True, tag="impression"):
    """A list was shown to a user."""

    IDS: ClassVar[tuple[str, ...]] = ("user_id",)

    user_id: Id
    recommendation_id: Annotated[str, Meta(min_length=1, max_length=256)]
    items: Annotated[list[ShownItem], Meta(max_length=1000)]
    model_version: Text | None = None
    experiment_id: Text | None = None
    variant: Text | None = None
    policy: Text | None = None
    context: Json = {}


class Item(BaseEvent, frozen=True, kw_only=True, tag="item"):
    """What the catalogue says of an item; what is said latest by `occurred_at` holds.

    A whole version (`partial` false) replaces all that was said before: members that it leaves out take their
    defaults. A partial one changes only the members that it names; of `attributes`, only the keys that it names, and
    a key whose value is null goes. `deleted` takes the item out of all lists until a whole version comes.
    """

    IDS: ClassVar[tuple[str, ...]] = ("item_id",)
    INSTANTS: ClassVar[tuple[str, ...]] = ("occurred_at", "published_at", "expires_at")

    item_id: Id
    partial: bool = False
    title: Annotated[str, Meta(max_length=2000)] | UnsetType = UNSET
    text: LongText | UnsetType = UNSET
    categories: Annotated[list[Text], Meta(max_length=256)] | UnsetType = UNSET
    attributes: Json | UnsetType = UNSET
    hidden: bool | UnsetType = UNSET
    deleted: bool | UnsetType = UNSET
    stock: Annotated[int, Meta(ge=0, le=2_147_483_647)] | UnsetType | None = UNSET
    published_at: Instant | UnsetType | None = UNSET
    expires_at: Instant | UnsetType | None = UNSET

    def said(self) -> Json:
        """Return the members that this version names, by name."""
        named = ((name, getattr(self, name)) for name in ITEM_MEMBERS)
        return {name: value for name, value in named if value is not UNSET}


ITEM_MEMBERS: Final = (
    *("title", "text", "categories", "attributes", "hidden", "deleted", "stock", "published_at", "expires_at"),
)
"""What a version of an item may say."""


class User(BaseEvent, frozen=True, kw_only=True, tag="user"):
    """What is known of a user apart from what they do; what is said latest by `occurred_at` holds.

    A partial version changes only the attributes that it names; one whose value is null goes.
    """

    IDS: ClassVar[tuple[str, ...]] = ("user_id",)

    user_id: Id
    partial: bool = False
    attributes: Json = {}


class Feedback(BaseEvent, frozen=True, kw_only=True, tag="feedback"):
    """What became of a recommendation."""

    IDS: ClassVar[tuple[str, ...]] = ("user_id", "item_id")

    recommendation_id: Annotated[str, Meta(min_length=1, max_length=256)]
    outcome: Word
    user_id: Id | None = None
    item_id: Id | None = None


Event = Interaction | Impression | Item | User | Feedback
EVENT_TYPES: Final[dict[str, type[BaseEvent]]] = {
    str(form.__struct_config__.tag): form for form in (Interaction, Impression, Item, User, Feedback)
}

FREE_MEMBERS: Final = ("context", "attributes")
"""Members of events that hold any JSON: how deep the others go is said by their form."""

REGISTRY_HEADER_BYTES: Final = 5

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Event).decode


def encode_event(event: Event) -> bytes:
    """Return an event's wire form, UTF-8 JSON."""
    return _encode(event)


def decode_event(raw: bytes) -> Event:
    """Return the event that some bytes hold.

    Raises
    ------
    EventError
        With a reason code and one problem per wrong field.
    """
    if raw[:1] == b"\0":
        raw = without_registry_header(raw)
    # JSON's spelling of U+0000, which Postgres cannot keep; after a backslash it may be harmless.
    if len(raw) > MAX_EVENT_BYTES or (spells_nul(raw) and holds_nul(raw)):
        raise diagnose(raw, EVENT_TYPES)
    try:
        event: Event = _decode(raw)
    except UNREADABLE:
        raise diagnose(raw, EVENT_TYPES) from None
    if may_be_deep(raw):
        _check_depth(event)
    return event


def _check_depth(event: Event) -> None:
    levels = 1 + max(depth_of(getattr(event, name, None)) for name in FREE_MEMBERS)
    if levels > MAX_DEPTH:
        raise too_deep(levels)


def without_registry_header(raw: bytes) -> bytes:
    """Return a message without the five bytes that serializers of a schema registry put before its JSON.

    A zero byte, then four that number the schema; no JSON text begins with a zero byte.
    """
    return raw[REGISTRY_HEADER_BYTES:] if raw[:1] == b"\0" and len(raw) > REGISTRY_HEADER_BYTES else raw


def stamp_event(fields: dict[str, Any], *, now: datetime, event_id: str, default_type: str = "interaction") -> Event:
    """Return the event of a partial form: `type`, `event_id`, `occurred_at`, `schema_version` are filled in if missing.

    Raises
    ------
    EventError
        As `decode_event` does.
    """
    defaults = {"type": default_type, "schema_version": SCHEMA_VERSION, "event_id": event_id, "occurred_at": now}
    return decode_event(_encode({**defaults, **fields}))
