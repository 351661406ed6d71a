"""Why some bytes are not an event: a reason code, and one problem for each wrong field with its path.

The slow path of decoding. The fast path stops at the first problem; a producer wants to hear all of them at once.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from features.contracts.errors import ContractError
from features.contracts.nesting import MAX_DEPTH, depth_of, told_deep

Reason = Literal[
    "not_json",
    "not_object",
    "too_large",
    "unknown_type",
    "wrong_version",
    "invalid_field",
    "far_future",
    "far_past",
    "refused_by_database",
]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)

Problem = tuple[str, str]
"""Path of a field from the event's root ("items[2].item_id", "$" for the whole) and what is wrong with it."""

_COMPARED: Final = 100
"""Characters of an unknown name that are compared with what is known."""

SCHEMA_VERSION: Final = 1
MAX_EVENT_BYTES: Final = 262_144
"""Largest event that is read; item texts are the longest honest ones, and stay far below."""
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises on bytes that are not the form asked for; `RecursionError` where nesting has no end."""


class EventError(ContractError):
    """Bytes or fields are no event: `code` says of which kind the fault is, `problems` where it lies."""

    def __init__(self, code: Reason, problems: Sequence[Problem]) -> None:
        self.code: Final = code
        self.problems: Final = tuple(problems)
        super().__init__(f"event refused ({code}): " + "; ".join(f"{path}: {message}" for path, message in problems))


def too_deep(levels: int) -> EventError:
    """Return why an event or a message nested so deep is refused: what it becomes could be read, but not be written."""
    return EventError("invalid_field", [("$", told_deep(levels))])


def diagnose(raw: bytes, forms: Mapping[str, type[msgspec.Struct]]) -> EventError:
    """Return why bytes that the decoder refused are no event.

    Parameters
    ----------
    raw
        The bytes as they came.
    forms
        The union's structs by their tag.
    """
    fields = _object(raw)
    return fields if isinstance(fields, EventError) else diagnose_fields(fields, forms)


def diagnose_message(raw: bytes, form: type[msgspec.Struct]) -> EventError:
    """Return why bytes that the decoder refused are no message of some form, which has neither tag nor version."""
    fields = _object(raw)
    if isinstance(fields, EventError):
        return fields
    problems = [*_struct_problems(fields, form, ""), *_nul_problems(fields, "")]
    return EventError("invalid_field", problems or [("$", "refused, but no single field is wrong")])


def _object(raw: bytes) -> dict[str, Any] | EventError:
    """Return the members of a JSON object, or why the bytes are none."""
    if len(raw) > MAX_EVENT_BYTES:
        return EventError("too_large", [("$", f"{len(raw)} bytes; an event has at most {MAX_EVENT_BYTES}")])
    try:
        fields = msgspec.json.decode(raw)
    except UNREADABLE as error:
        return EventError("not_json", [("$", f"{error}; expected one JSON object in UTF-8")])
    if not isinstance(fields, dict):
        return EventError("not_object", [("$", f"a JSON {type(fields).__name__}; expected one JSON object")])
    return fields if (levels := depth_of(fields)) <= MAX_DEPTH else too_deep(levels)


def diagnose_fields(fields: dict[str, Any], forms: Mapping[str, type[msgspec.Struct]]) -> EventError:
    """Return why fields that the decoder refused are no event; parameters as in `diagnose`."""
    tag = fields.get("type")
    form = forms.get(tag) if isinstance(tag, str) else None
    if form is None:
        return EventError("unknown_type", [("type", f"{tag!r:.80}; expected one of {', '.join(forms)}")])
    version = fields.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        return EventError("wrong_version", [("schema_version", f"{version!r:.80}; expected {SCHEMA_VERSION}")])
    problems = [*_struct_problems(fields, form, ""), *_nul_problems(fields, "")]
    return EventError("invalid_field", problems or [("$", "refused, but no single field is wrong")])


def _struct_problems(fields: Mapping[str, Any], form: type[msgspec.Struct], prefix: str) -> list[Problem]:
    problems = []
    for field in msgspec.structs.fields(form):
        path = prefix + field.encode_name
        if field.encode_name in fields:
            problems += _value_problems(fields[field.encode_name], field.type, path)
        elif field.required:
            problems.append((path, "missing"))
    return problems or _whole_problem(fields, form, prefix)


def _whole_problem(fields: Mapping[str, Any], form: type[msgspec.Struct], prefix: str) -> list[Problem]:
    """Return what is wrong although each field alone is right: the rules that bind several fields."""
    try:
        msgspec.convert(dict(fields), form)
    except msgspec.ValidationError as error:
        return [(prefix.rstrip(".") or "$", str(error))]
    return []


def _value_problems(value: object, expected: Any, path: str) -> list[Problem]:
    if isinstance(expected, type) and issubclass(expected, msgspec.Struct):
        return _element_problems(value, expected, path)
    shown = _element_struct(expected)
    if shown is not None and isinstance(value, list):
        elements = enumerate(value)
        return [
            problem for i, element in elements for problem in _element_problems(element, shown, f"{path}[{i}]")
        ] or _convert_problem(value, expected, path)
    return _convert_problem(value, expected, path)


def _element_problems(element: object, form: type[msgspec.Struct], path: str) -> list[Problem]:
    if isinstance(element, dict):
        return _struct_problems(element, form, f"{path}.")
    return [(path, f"Expected `object`, got `{type(element).__name__}`")]


def _element_struct(expected: Any) -> type[msgspec.Struct] | None:
    """Return the struct of which a type says that it is a list, if it does."""
    bare = get_args(expected)[0] if hasattr(expected, "__metadata__") else expected
    elements = get_args(bare)
    is_list = get_origin(bare) is list and isinstance(elements[0], type) and issubclass(elements[0], msgspec.Struct)
    return elements[0] if is_list else None


def _convert_problem(value: object, expected: Any, path: str) -> list[Problem]:
    try:
        msgspec.convert(value, expected)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        return [(path + where.rstrip("`"), message)]
    return []


def holds_nul(raw: bytes) -> bool:
    """Return whether JSON spells U+0000 somewhere in a text, or cannot be read at all."""
    try:
        return any(_nul_problems(msgspec.json.decode(raw), ""))
    except UNREADABLE:
        return True


def _nul_problems(value: object, path: str) -> Iterator[Problem]:
    """Yield each text that holds U+0000, which Postgres cannot keep."""
    if isinstance(value, str):
        if "\0" in value:
            yield path or "$", "holds the character U+0000, which cannot be stored"
    elif isinstance(value, dict):
        for key, inner in value.items():
            where = f"{path}.{key}" if path else key
            yield from _nul_problems(key, where)
            yield from _nul_problems(inner, where)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _nul_problems(inner, f"{path}[{i}]")


def nearest_member(name: str, known: Collection[str]) -> str | None:
    """Return the known member whose name is most like an unknown one, None where none is near.

    >>> nearest_member("titel", ["title", "text"]), nearest_member("colour", ["title", "text"])
    ('title', None)
    """
    return next(iter(get_close_matches(name[:_COMPARED], known, n=1)), None)
