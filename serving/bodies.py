"""Reading JSON bodies: syntax and depth here, meaning in the schemas."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final, TypeVar, get_args, get_origin

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from features.contracts.nesting import MAX_DEPTH, depth_of
from serving.problems import ProblemError

COMPRESSED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
"""First bytes of gzip and Zstandard; no JSON begins so."""

MAX_STRANGE: Final = 100
"""Unknown members of a body up to which each is a problem of its own; with many, finding them all takes seconds."""
MAX_ELEMENTS: Final = 1_000
"""Objects of a list whose members are counted so; forms refuse longer lists of them whole."""

Body = TypeVar("Body", bound=BaseModel)
Where = tuple[str | int, ...]
"""Members and places that lead to a value."""


async def read_json(request: Request) -> Any:
    """Return the body as plain data.

    Raises
    ------
    ProblemError
        400, if it is not JSON or nested too deeply; 415, if it is compressed.
    """
    raw = await request.body()
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise unreadable(raw, error) from None
    return shallow(data)


def shallow(data: Any) -> Any:
    """Return the data of a body.

    Raises
    ------
    ProblemError
        400, if they are nested too deeply.
    """
    if depth_of(data) > MAX_DEPTH:
        raise ProblemError(400, f"the body is nested more than {MAX_DEPTH} levels deep")
    return data


def unreadable(raw: bytes, error: Exception) -> ProblemError:
    """Return the refusal of a body that could not be read as JSON, and why."""
    if raw.startswith(COMPRESSED):
        return ProblemError(415, "the body is compressed; send it as it is, without `Content-Encoding`")
    if not raw.strip():
        return ProblemError(400, "the body is empty; expected JSON")
    return ProblemError(400, f"the body is not JSON in UTF-8, or is nested too deeply: {error}")


async def read_body(request: Request, form: type[Body]) -> Body:
    """Return the body as a checked form.

    Raises
    ------
    RequestValidationError
        If it does not have the form.
    """
    data = await read_json(request)
    _check_strange(data, form)
    try:
        return form.model_validate(data)
    except ValidationError as error:
        raise RequestValidationError(
            [{**problem, "loc": ("body", *problem["loc"])} for problem in error.errors()]
        ) from None


def _check_strange(data: Any, form: type[BaseModel]) -> None:
    """Refuse a body of very many unknown members by the first of them, before each becomes a problem."""
    found = [*_strange(data, form, ())]
    if (count := sum(len(names) for _, names in found)) > MAX_STRANGE:
        at, names = found[0]
        said = f"Extra inputs are not permitted; the first of {count} such members, which are too many to name"
        raise RequestValidationError([{"type": "extra_forbidden", "loc": ("body", *at, names[0]), "msg": said}])


def _strange(data: Any, form: type[BaseModel], at: Where) -> Iterator[tuple[Where, list[str]]]:
    """Yield where a body has members that its form refuses as unknown, and which: its own, and its lists' objects'."""
    if not isinstance(data, dict) or form.model_config.get("extra") != "forbid":
        return
    known = form.model_fields  # looked up once: the class makes its answer anew each time
    if strange := [name for name in data if name not in known]:
        yield at, strange
    for name, inner in _lists_of(form):
        for place, element in enumerate(_few(data.get(name))):
            yield from _strange(element, inner, (*at, name, place))


@cache
def _lists_of(form: type[BaseModel]) -> list[tuple[str, type[BaseModel]]]:
    """Return the fields of a form that are lists of forms, and of which."""
    lists = (
        (name, get_args(field.annotation)[0])
        for name, field in form.model_fields.items()
        if get_origin(field.annotation) is list
    )
    return [(name, inner) for name, inner in lists if isinstance(inner, type) and issubclass(inner, BaseModel)]


def _few(given: Any) -> list[Any]:
    """Return a list that is not refused for its length before its elements are looked at."""
    return given[:MAX_ELEMENTS] if isinstance(given, list) else []
