"""What the columns of a catalogue's file mean: from a row's values to the fields of an event."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

import msgspec

from features.contracts.event_problems import UNREADABLE
from features.contracts.events import BaseEvent, Item, User
from features.contracts.mapping_sources import MILLISECONDS_FROM
from features.contracts.nesting import MAX_DEPTH, depth_of

NO_CATEGORIES: Final = "(no genres listed)"
"""What MovieLens writes where there are none."""

Values = Mapping[str, Any]
Fields = dict[str, Any]

_ITEM_COLUMNS: Final = frozenset(
    {
        *("event_id", "item_id", "title", "text", "categories", "attributes", "occurred_at", "hidden", "deleted"),
        *("stock", "published_at", "expires_at"),
    }
)
_USER_COLUMNS: Final = frozenset({"event_id", "user_id", "attributes", "occurred_at"})


class ColumnError(ValueError):
    """A value does not mean what its column needs."""

    def __init__(self, column: str, value: object, expected: str) -> None:
        self.column = column
        self.value = value
        self.expected = expected
        super().__init__(f"{value!r:.100}; expected {expected}")


def item_fields(row: Values) -> Fields:
    """Return the fields of an item; columns that items do not have become attributes.

    Raises
    ------
    ColumnError
        If a time or a truth value cannot be read.
    """
    fields: Fields = {"item_id": row["item_id"]}
    fields |= {name: str(row[name]) for name in ("title", "text") if row.get(name) is not None}
    fields |= {
        name: instant(name, row[name])
        for name in ("occurred_at", "published_at", "expires_at")
        if row.get(name) is not None
    }
    if row.get("categories") is not None:
        fields["categories"] = _categories(row["categories"])
    fields |= {name: _truth(name, row[name]) for name in ("hidden", "deleted") if row.get(name) is not None}
    if row.get("stock") is not None:
        fields["stock"] = _whole("stock", row["stock"])
    return fields | {"attributes": _attributes(row, _ITEM_COLUMNS)}


def user_fields(row: Values) -> Fields:
    """Return the fields of a user; columns that users do not have become attributes.

    Raises
    ------
    ColumnError
        If a time cannot be read.
    """
    fields: Fields = {"user_id": row["user_id"], "attributes": _attributes(row, _USER_COLUMNS)}
    if row.get("occurred_at") is not None:
        fields["occurred_at"] = instant("occurred_at", row["occurred_at"])
    return fields


FIELDS: Final[Mapping[type[BaseEvent], Callable[[Values], Fields]]] = {
    Item: item_fields,
    User: user_fields,
}


def instant(column: str, value: object) -> datetime:
    """Return an instant in UTC from a timestamp (naive = UTC), ISO 8601 text, or whole seconds since 1970.

    A whole number of 100,000,000,000 or more is milliseconds.

    Raises
    ------
    ColumnError
        If it is none of these.
    """
    try:
        at = _instant(value)
    except (ValueError, OverflowError, OSError):
        at = None
    if at is None:
        raise ColumnError(column, value, "a timestamp, ISO 8601 text or whole seconds since 1970")
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _instant(value: object) -> datetime | None:
    match value:
        case datetime():
            return value
        case date():
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        case int() if not isinstance(value, bool):
            return _from_number(value)
        case str() if value.strip().lstrip("-").isdigit():
            return _from_number(int(value))
        case str():
            return datetime.fromisoformat(value.strip())
        case _:
            return None


def _from_number(number: int) -> datetime:
    return datetime.fromtimestamp(number / 1000 if abs(number) >= MILLISECONDS_FROM else number, UTC)


def _categories(value: object) -> list[str]:
    parts = value.split("|") if isinstance(value, str) else list(value)  # type: ignore[call-overload]
    return [str(part) for part in parts if part and part != NO_CATEGORIES]


def _truth(column: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    match str(value).strip().lower():
        case "true" | "1":
            return True
        case "false" | "0":
            return False
        case _:
            raise ColumnError(column, value, "true or false")


def _whole(column: str, value: object) -> int:
    try:
        return int(value if isinstance(value, int) else str(value))
    except ValueError:
        raise ColumnError(column, value, "a whole number") from None


def _attributes(row: Values, known: frozenset[str]) -> Fields:
    """Return the columns that are no members of their own, and those that a column of all attributes holds."""
    return _given_attributes(row.get("attributes")) | {
        name: _plain(value) for name, value in row.items() if name not in known and value is not None
    }


def _given_attributes(value: object) -> Fields:
    """Return attributes that are an object already, or JSON text of one, as exports have it."""
    if value is None:
        return {}
    if isinstance(value, str):
        try:
            given = msgspec.json.decode(value, type=dict[str, Any])
        except UNREADABLE:
            raise ColumnError("attributes", value, "a JSON object") from None
        if depth_of(given) >= MAX_DEPTH:
            raise ColumnError("attributes", value, f"fewer than {MAX_DEPTH} levels of nesting")
        return given
    if not isinstance(value, dict):
        raise ColumnError("attributes", value, "an object")
    return value


def _plain(value: object) -> object:
    """Return a value that JSON can hold."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float | str | list | dict) else str(value)
