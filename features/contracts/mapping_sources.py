"""Members of events out of fields of messages: what a mapping needs of a message, and how each member is read."""

import functools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from operator import attrgetter, or_
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

import msgspec
from msgspec import UNSET, Meta, UnsetType

from features.contracts.event_problems import EventError
from features.contracts.events import Instant
from features.contracts.mapping_form import MappingError, Source, Time
from features.contracts.times import to_us

Values = tuple[Any, ...]
"""The fields that a mapping needs of one message, in the order in which it asked for them."""
Read = Callable[[Values], Any]
Canonical = Callable[[Any], str | None]
"""A field's value as text that is the same however the value is spelt."""

MILLISECONDS_FROM: Final = 100_000_000_000
"""A time that is a number this large is milliseconds: as such it lies in 1973, as seconds it would lie in 5138."""

_INSTANTS: Final[Mapping[Time, Any]] = {
    "rfc3339": Instant,
    "epoch_s": int | float,
    "epoch_ms": int | float,
    "any": Instant | int | float,
}
_ABSENT: Final = (None, UNSET)
_Plain = str | int | float | bool | None
_Part = Annotated[float, Meta(ge=0)]
_Whole = Annotated[float, Meta(gt=0)]


class MessageForm:
    """The fields that a mapping needs of messages, collected while it is read."""

    def __init__(self) -> None:
        self._types: dict[str, Any] = {}
        self._required: set[str] = set()
        self._times: dict[str, Time] = {}

    def need(self, path: str, form: Any, *, optional: bool = False) -> int:
        """Return where among the values a field will stand that messages hold in some form.

        Raises
        ------
        MappingError
            If the field was asked for in another form already, or is also said to be an object of fields.
        """
        if self._types.setdefault(path, form) != form:
            raise MappingError(f"field {path} is needed in two forms: {self._types[path]} and {form}")
        if not optional:
            self._required.add(path)
        if inside := [other for other in self._types if other.startswith(f"{path}.") or path.startswith(f"{other}.")]:
            raise MappingError(f"field {path} is needed whole, and also as an object of fields: {inside[0]}")
        return list(self._types).index(path)

    def need_time(self, path: str, time: Time, *, optional: bool = False) -> int:
        """Return where among the values an instant will stand; raises as `need` does."""
        self._times[path] = time
        return self.need(path, _INSTANTS[time], optional=optional)

    def canonical(self, path: str) -> tuple[int, Canonical]:
        """Return where among the values a field will stand, and how to spell it."""
        if path in self._times:
            read = instant_reader(path, self._times[path])
            return list(self._types).index(path), lambda value: None if value in _ABSENT else str(to_us(read(value)))
        if path not in self._types:
            self.need(path, _Plain)
        return list(self._types).index(path), _canonical

    def compile(self, name: str) -> tuple[type[msgspec.Struct], Callable[[Any], Values]]:
        """Return the struct that messages are decoded to, and the function that takes its values out."""
        tree: dict[str, Any] = {}
        for path, form in self._types.items():
            *parents, leaf = path.split(".")
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = (form, path not in self._required)
        return _struct(name, tree), _getter([_attributes(tree, path) for path in self._types])


def _attributes(tree: Mapping[str, Any], path: str) -> str:
    """Return a field's path by the names that the structs have for it: keys of JSON need be no identifiers."""
    names, node = [], tree
    for part in path.split("."):
        names.append(f"f{list(node).index(part)}")
        node = node[part]
    return ".".join(names)


def _struct(name: str, tree: Mapping[str, Any]) -> type[msgspec.Struct]:
    fields: list[Any] = []
    for number, node in enumerate(tree.values()):
        if isinstance(node, dict):
            inner = _struct(name, node)
            may_lack = all(not field.required for field in msgspec.structs.fields(inner))
            default = (msgspec.field(default_factory=inner),) if may_lack else ()
            fields.append((f"f{number}", inner, *default))
        else:
            form, optional = node
            fields.append((f"f{number}", form | None | UnsetType, UNSET) if optional else (f"f{number}", form))
    rename = {f"f{number}": key for number, key in enumerate(tree)}
    return msgspec.defstruct(name, fields, kw_only=True, rename=rename, gc=False)


def _getter(paths: list[str]) -> Callable[[Any], Values]:
    if len(paths) == 1:
        one = attrgetter(paths[0])
        return lambda message: (one(message),)
    return attrgetter(*paths) if paths else lambda _: ()


def reader_of(source: Source, form: Any, message: MessageForm) -> Read:
    """Return the function that takes a member of an event out of a message's values.

    Parameters
    ----------
    source
        Where the member comes from.
    form
        The member's own type.
    message
        Told which fields this needs.

    Raises
    ------
    MappingError
        If such a member cannot come from there.
    """
    if source.constant is not UNSET:
        constant = _as_member(source.constant, form)
        return lambda _: constant
    if isinstance(source.share, tuple):
        _as_member(0.5, form)
        return _share(message.need(source.share[0], _Part), message.need(source.share[1], _Whole))
    if isinstance(source.object, dict):
        _as_member({}, form)
        places = [(key, message.need(path, Any, optional=True)) for key, path in source.object.items()]
        return lambda values: {key: values[at] for key, at in places if values[at] is not UNSET}
    assert isinstance(source.field, str)  # noqa: S101  # what the form checks
    return _field(source, source.field, _bare(form), message)


def _field(source: Source, path: str, form: Any, message: MessageForm) -> Read:
    if source.choices is not UNSET:
        choices = {choice: _as_member(value, form) for choice, value in source.choices.items()}
        at = message.need(path, cast("Any", Literal)[tuple(choices)], optional=source.optional)
        return _given(at, choices.__getitem__)
    if form == Instant:
        time: Time = "any" if source.time is UNSET else source.time
        return _given(message.need_time(path, time, optional=source.optional), instant_reader(path, time))
    if source.time is not UNSET:
        raise MappingError("time goes with instants only")
    return _given(message.need(path, form, optional=source.optional), None)


def _given(at: int, convert: Callable[[Any], Any] | None) -> Read:
    """Return the reader of one field: UNSET where the message lacks it or holds null."""

    def read(values: Values) -> Any:
        value = values[at]
        if value is None or value is UNSET:
            return UNSET
        return value if convert is None else convert(value)

    return read


def _share(part: int, whole: int) -> Read:
    return lambda values: min(values[part] / values[whole], 1.0)


def _bare(form: Any) -> Any:
    """Return a member's type without null and absence: a field that is mapped has a value."""
    if get_origin(form) not in {Union, UnionType}:
        return form
    return functools.reduce(or_, (one for one in get_args(form) if one not in {NoneType, UnsetType}))


def _as_member(value: Any, form: Any) -> Any:
    try:
        return msgspec.convert(value, form)
    except msgspec.ValidationError as error:
        raise MappingError(f"{value!r}: {error}") from None


def instant_reader(path: str, time: Time) -> Callable[[datetime | float], datetime]:
    """Return the function that makes an instant in UTC of a field's value; it raises EventError naming the field."""

    def read(value: datetime | float) -> datetime:
        try:
            if isinstance(value, datetime):
                return value if value.tzinfo is UTC else value.astimezone(UTC)
            is_ms = time == "epoch_ms" or (time == "any" and abs(value) >= MILLISECONDS_FROM)
            return datetime.fromtimestamp(value / 1000 if is_ms else value, UTC)
        except (ValueError, OverflowError, OSError):
            message = f"{value!s:.80} is outside the years 1 to 9999 in UTC"
            raise EventError("invalid_field", [(path, message)]) from None

    return read


def _canonical(value: Any) -> str | None:
    if type(value) is str:
        return value
    if value is None or value is UNSET:
        return None
    if type(value) is int:
        return str(value)
    if type(value) is float:
        return str(int(value)) if value.is_integer() else repr(value)
    return msgspec.json.encode(value, order="deterministic").decode()
