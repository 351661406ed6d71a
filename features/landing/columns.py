"""What the columns of an imported file mean: from a row's values to the fields of an event."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from features.contracts.events import BaseEvent, Interaction, Item, User

Values = Mapping[str, Any]
Fields = dict[str, Any]

REQUIRED: Final[Mapping[type[BaseEvent], tuple[str, ...]]] = {
    Interaction: ("user_id", "item_id", "occurred_at"),
    Item: ("item_id",),
    User: ("user_id",),
}
_ITEM_COLUMNS: Final = frozenset(
    {"event_id", "item_id", "title", "text", "categories", "occurred_at", "hidden", "published_at", "expires_at"}
)
_USER_COLUMNS: Final = frozenset({"event_id", "user_id", "occurred_at"})


class ColumnError(ValueError):
    """A value does not mean what its column needs."""

    def __init__(self, column: str, value: object, expected: str) -> None:
        self.column = column
        super().__init__(f"{value!r:.100}; expected {expected}")


def interaction_fields(row: Values) -> Fields:
    """Return the fields of an interaction; without a column `action` it is a `rating` if it has a value, else a `view`.

    Raises
    ------
    ColumnError
        If a time or a number cannot be read.
    """
    value = _number("value", row.get("value"))
    default = "rating" if "value" in row else "view"
    return {
        "user_id": row["user_id"],
        "item_id": row["item_id"],
        "occurred_at": instant("occurred_at", row["occurred_at"]),
        "action": row.get("action", default),
        "value": value,
    }


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
    if row.get("hidden") is not None:
        fields["hidden"] = _truth("hidden", row["hidden"])
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
    Interaction: interaction_fields,
    Item: item_fields,
    User: user_fields,
}


def instant(column: str, value: object) -> datetime:
    """Return an instant in UTC from a timestamp (naive = UTC), ISO 8601 text, or whole seconds since 1970.

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
            return datetime.fromtimestamp(value, UTC)
        case str() if value.strip().lstrip("-").isdigit():
            return datetime.fromtimestamp(int(value), UTC)
        case str():
            return datetime.fromisoformat(value.strip())
        case _:
            return None


def _number(column: str, value: object) -> float | None:
    """Return a finite number, or None where there is none."""
    if value is None:
        return None
    try:
        number = float(value)  # type: ignore[arg-type]  # what it cannot take is the error reported
    except (TypeError, ValueError):
        raise ColumnError(column, value, "a number") from None
    if math.isnan(number):
        return None
    if math.isinf(number):
        raise ColumnError(column, value, "a finite number")
    return number


def _categories(value: object) -> list[str]:
    parts = value.split("|") if isinstance(value, str) else list(value)  # type: ignore[call-overload]
    return [str(part) for part in parts if part]


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


def _attributes(row: Values, known: frozenset[str]) -> Fields:
    return {name: _plain(value) for name, value in row.items() if name not in known and value is not None}


def _plain(value: object) -> object:
    """Return a value that JSON can hold."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float | str | list | dict) else str(value)
