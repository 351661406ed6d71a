"""The OpenAPI document: schemas of bodies that routes read themselves, problem documents by their media type."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from serving.examples import ANSWERS, PARAMETERS, SAME_AS
from serving.posted import MAX_EVENTS, EventsProblem
from serving.problems import MEDIA_TYPE, Problem

_REF: Final = "#/components/schemas/{model}"
_JSON: Final = "application/json"

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    422: {"model": Problem, "description": "A value is missing or malformed."},
    500: {"model": Problem, "description": "The server failed."},
    503: {
        "model": Problem,
        "description": "Something behind the server is away; `Retry-After` says when to try again.",
    },
}
"""Refusals that every route of the API may answer."""

BODY_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Problem, "description": "The body is not JSON."},
    408: {"model": Problem, "description": "The body did not come in time."},
    413: {"model": Problem, "description": "The body is too large."},
}

_PROBLEM_SCHEMAS: Final = [{"$ref": _REF.format(model=model.__name__)} for model in (Problem, EventsProblem)]


def json_body(schema: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that reads its JSON body itself.

    Parameters
    ----------
    schema
        JSON schema; see `ref`.
    examples
        Example bodies by summary.
    """
    named = {summary: {"summary": summary, "value": value} for summary, value in examples.items()}
    return {"requestBody": {"required": True, "content": {_JSON: {"schema": schema, "examples": named}}}}


def ref(model: type[BaseModel]) -> dict[str, str]:
    """Return a reference to a model's schema; the model must be among those given to `install_openapi`."""
    return {"$ref": _REF.format(model=model.__name__)}


def bodies_of(one: type[BaseModel], many: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a body that is one object, an array of up to 1,000, or an object that holds the array."""
    array = {"type": "array", "items": ref(one), "minItems": 1, "maxItems": MAX_EVENTS}
    return {"anyOf": [ref(many), array, ref(one)]}


def install_openapi(app: FastAPI, bodies: list[type[BaseModel]]) -> None:
    """Let the app describe itself, made once when first asked for.

    Parameters
    ----------
    bodies
        Models that routes refer to by `ref`.
    """

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app, bodies)
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]  # FastAPI's documented way to extend OpenAPI


def _described(app: FastAPI, bodies: list[type[BaseModel]]) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in bodies:
        schema = model.model_json_schema(ref_template=_REF)
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    for path in document["paths"].values():
        for operation in path.values():
            _describe_refusals(operation["responses"])
            _add_examples(operation)
    return document


def _describe_refusals(responses: dict[str, Any]) -> None:
    """Give problem documents their media type, and say that whatever else is refused is one too."""
    for response in responses.values():
        content = response.get("content", {})
        if content.get(_JSON, {}).get("schema") in _PROBLEM_SCHEMAS:
            content[MEDIA_TYPE] = content.pop(_JSON)
    responses["default"] = {
        "description": "Any other refusal: a path, method, header or body that the server does not take.",
        "content": {MEDIA_TYPE: {"schema": ref(Problem)}},
    }


def _add_examples(operation: dict[str, Any]) -> None:
    """Show of an operation what its parameters and its answer look like."""
    for parameter in operation.get("parameters", []):
        if parameter["name"] in PARAMETERS:
            parameter["example"] = PARAMETERS[parameter["name"]]
    name = operation["operationId"]
    answer = SAME_AS.get(name, name)
    for status, response in operation["responses"].items():
        content = response.get("content", {})
        if status.startswith("2") and _JSON in content and answer in ANSWERS:
            content[_JSON]["example"] = ANSWERS[answer]
