"""Why some bytes are not an event: a reason code, and one problem for each wrong field with its path.

The slow path of decoding. The fast path stops at the first problem; a producer wants to hear of several at once, and
bytes that are wrong in a hundred thousand places must not be looked through for all of them.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache, cached_property
from itertools import chain
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from features.contracts.errors import ContractError
from features.contracts.naming import Problem, cut_path, named, or_else
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

_COMPARED: Final = 100
"""Characters of an unknown name that are compared with what is known."""

SCHEMA_VERSION: Final = 1
MAX_EVENT_BYTES: Final = 262_144
"""Largest event that is read; item texts are the longest honest ones, and stay far below."""
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises on bytes that are not the form asked for; `RecursionError` where nesting has no end."""


class EventError(ContractError):
    """Bytes or fields are no event: `code` says of which kind the fault is, `problems` where it lies.

    Problems are looked for once somebody asks: of a thousand wrong events in one request few are spoken of.
    """

    def __init__(self, code: Reason, problems: Iterable[Problem]) -> None:
        super().__init__(code)
        self.code: Final = code
        self._problems = problems

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """Return the first problems and how many more there are, as `named` has it."""
        return named(self._problems)

    def __str__(self) -> str:
        """Return code and problems."""
        told = "; ".join(f"{path}: {message}" for path, message in self.problems)
        return f"event refused ({self.code}): {told}"


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
    return fields if isinstance(fields, EventError) else diagnose_fields(fields, forms, nul=spells_nul(raw))


def diagnose_message(raw: bytes, form: type[msgspec.Struct]) -> EventError:
    """Return why bytes that the decoder refused are no message of some form, which has neither tag nor version."""
    fields = _object(raw)
    if isinstance(fields, EventError):
        return fields
    return EventError("invalid_field", field_problems(fields, form, nul=spells_nul(raw)))


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


def diagnose_fields(
    fields: dict[str, Any], forms: Mapping[str, type[msgspec.Struct]], *, nul: bool = True
) -> EventError:
    """Return why fields that the decoder refused are no event; parameters as in `diagnose` and `field_problems`."""
    tag = fields.get("type")
    form = forms.get(tag) if isinstance(tag, str) else None
    if form is None:
        return EventError("unknown_type", [("type", f"{tag!r:.80}; expected one of {', '.join(forms)}")])
    version = fields.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        return EventError("wrong_version", [("schema_version", f"{version!r:.80}; expected {SCHEMA_VERSION}")])
    return EventError("invalid_field", field_problems(fields, form, nul=nul))


def field_problems(fields: dict[str, Any], form: type[msgspec.Struct], *, nul: bool) -> Iterator[Problem]:
    """Yield what is wrong with fields that a form refused; whether texts hold U+0000 is looked at if they may."""
    found = chain(_struct_problems(fields, form, ""), _nul_problems(fields, "") if nul else ())
    return or_else(found, lambda: [("$", "refused, but no single field is wrong")])


def _struct_problems(fields: Mapping[str, Any], form: type[msgspec.Struct], prefix: str) -> Iterator[Problem]:
    return or_else(_member_problems(fields, form, prefix), lambda: _whole_problem(fields, form, prefix))


def _member_problems(fields: Mapping[str, Any], form: type[msgspec.Struct], prefix: str) -> Iterator[Problem]:
    for field in _members_of(form):
        path = prefix + field.encode_name
        if field.encode_name in fields:
            yield from _value_problems(fields[field.encode_name], field.type, path)
        elif field.required:
            yield path, "missing"


@cache
def _members_of(form: type[msgspec.Struct]) -> Sequence[msgspec.structs.FieldInfo]:
    return msgspec.structs.fields(form)


def _whole_problem(fields: Mapping[str, Any], form: type[msgspec.Struct], prefix: str) -> list[Problem]:
    """Return what is wrong although each field alone is right: the rules that bind several fields."""
    try:
        msgspec.convert(dict(fields), form)
    except msgspec.ValidationError as error:
        return [(prefix.rstrip(".") or "$", str(error))]
    return []


def _value_problems(value: object, expected: Any, path: str) -> Iterable[Problem]:
    if isinstance(expected, type) and issubclass(expected, msgspec.Struct):
        return _element_problems(value, expected, path)
    shown = _element_struct(expected)
    if shown is not None and isinstance(value, list):
        return _list_problems(value, shown, expected, path)
    return _convert_problem(value, expected, path)


def _list_problems(elements: list[Any], form: type[msgspec.Struct], expected: Any, path: str) -> Iterable[Problem]:
    """Return what is wrong with a list of structs: its length, or else its elements."""
    most = _longest(expected)
    if most is not None and len(elements) > most:
        return [(path, f"Expected `array` of length <= {most}")]
    found = (
        problem for i, element in enumerate(elements) for problem in _element_problems(element, form, f"{path}[{i}]")
    )
    return or_else(found, lambda: _convert_problem(elements, expected, path))


def _element_problems(element: object, form: type[msgspec.Struct], path: str) -> Iterable[Problem]:
    if not isinstance(element, dict):
        return [(path, f"Expected `object`, got `{type(element).__name__}`")]
    # Field by field takes ten times as long, and most elements of a wrong list are right.
    return _struct_problems(element, form, f"{path}.") if _convert_problem(element, form, path) else ()


def _longest(expected: Any) -> int | None:
    """Return how long a list may be by its type's annotation."""
    return next((said.max_length for said in getattr(expected, "__metadata__", ())), None)


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


def spells_nul(raw: bytes) -> bool:
    """Return whether JSON may spell U+0000: after a backslash, the same characters are harmless."""
    return b"\\u0000" in raw


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
            where = cut_path(f"{path}.{key}" if path else key)
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
