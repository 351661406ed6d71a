"""Reading JSON bodies: syntax and depth here, meaning in the schemas."""

from typing import Any, Final, TypeVar

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from features.contracts.nesting import MAX_DEPTH, depth_of
from serving.problems import ProblemError

COMPRESSED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
"""First bytes of gzip and Zstandard; no JSON begins so."""

Body = TypeVar("Body", bound=BaseModel)


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
    try:
        return form.model_validate(data)
    except ValidationError as error:
        raise RequestValidationError(
            [{**problem, "loc": ("body", *problem["loc"])} for problem in error.errors()]
        ) from None
