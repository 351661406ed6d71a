"""The OpenAPI document says of every route what it is, and describes what the server answers."""

import asyncio
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from serving.app import create_app
from tests.support.serving_parts import bench
from tests.support.serving_texts import text_of

METHODS = {"get", "post", "put", "patch", "delete"}
ROUTES = {
    ("get", "/api/v1/recommend/{user_id}"),
    ("post", "/api/v1/recommend"),
    ("post", "/api/v1/events"),
    ("post", "/api/v1/events/watch"),
    ("post", "/api/v1/events/search"),
    ("post", "/api/v1/events/rating"),
    ("post", "/api/v1/events/favorite"),
    ("post", "/api/v1/feedback"),
    ("post", "/api/v1/items"),
    ("patch", "/api/v1/items/{item_id}"),
    ("delete", "/api/v1/items/{item_id}"),
    ("post", "/api/v1/users"),
    ("patch", "/api/v1/users/{user_id}"),
    ("delete", "/api/v1/users/{user_id}"),
    ("get", "/api/v1/admin/dead-letters"),
    ("get", "/api/v1/admin/dead-letters/{dead_letter_id}"),
    ("post", "/api/v1/admin/dead-letters/{dead_letter_id}/fix"),
    ("post", "/api/v1/admin/dead-letters/replay"),
    ("post", "/api/v1/admin/dead-letters/discard"),
    ("get", "/api/v1/admin/reconcile"),
    ("get", "/api/v1/items/{item_id}/similar"),
    ("get", "/api/v1/items"),
    ("get", "/api/v1/items/{item_id}"),
    ("get", "/api/v1/items/stats"),
    ("post", "/api/v1/items/search"),
    ("get", "/api/v1/onboarding"),
    ("get", "/api/v1/features/{user_id}"),
    ("post", "/api/v1/features/{user_id}/refresh"),
    ("get", "/api/v1/recommendations/{recommendation_id}"),
    ("post", "/api/v1/recommendations/{recommendation_id}/replay"),
    ("get", "/api/v1/admin/audit"),
    ("get", "/model/info"),
    ("post", "/model/reload"),
    ("get", "/health"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/metrics"),
}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the document of an app."""
    with bench(tmp_path_factory.mktemp("openapi")) as parts:
        return create_app(parts.parts).openapi()


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the operations by method and path."""
    return {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    }


def test_all_routes_are_described(document: dict[str, Any]) -> None:
    found = operations(document)
    assert set(found) >= ROUTES
    for operation in found.values():
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"]
    names = [operation["operationId"] for operation in found.values()]
    assert len(names) == len(set(names))


def test_refusals_are_described_as_problem_documents(document: dict[str, Any]) -> None:
    for (_, path), operation in operations(document).items():
        refusals = {status: r for status, r in operation["responses"].items() if int(status) >= 400}
        assert path.startswith(("/health", "/metrics")) or "422" in refusals
        for refusal in refusals.values():
            assert list(refusal.get("content", {})) in (["application/problem+json"], ["application/json"])
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            target = part.get("$ref")
            assert not isinstance(target, str) or target.rsplit("/", 1)[1] in schemas, target
            for child in part.values():
                walk(child)
        elif isinstance(part, list):
            for child in part:
                walk(child)

    walk(document)


def test_examples_of_bodies_are_accepted_and_answers_have_their_schema(
    document: dict[str, Any], tmp_path: Path
) -> None:
    async def use() -> None:
        with bench(tmp_path) as parts:
            parts.registry.publish()
            parts.know_texts({"i1": text_of(1), "i2": text_of(2)})
            parts.catalogue.put("i1", title="Heat", text="A thief.", attributes={"author": "M. Mann"})
            async with parts.client() as client:
                await parts.parts.keeper.refresh_texts()
                for (method, path), operation in operations(document).items():
                    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
                    for name, example in content.get("examples", {}).items():
                        filled = path.format(user_id="u", item_id="i1")
                        response = await client.request(method, filled, json=example["value"])
                        assert response.status_code < 300, (path, name, response.text)
                        check(document, operation, str(response.status_code), response.json())
                for path in (
                    "/api/v1/recommend/{user_id}",
                    "/api/v1/items/{item_id}/similar",
                    "/api/v1/items/{item_id}/similar?by=content",
                    "/api/v1/items",
                    "/api/v1/items/{item_id}",
                    "/api/v1/items/stats",
                    "/api/v1/onboarding",
                    "/model/info",
                    "/health",
                ):
                    response = await client.get(path.format(user_id="u", item_id="i1"))
                    check(document, operations(document)["get", path.partition("?")[0]], "200", response.json())

    asyncio.run(use())


def check(document: dict[str, Any], operation: dict[str, Any], status: str, answer: Any) -> None:
    """Hold an answer against its schema, in which nothing may be there that is not described."""
    schema = operation["responses"][status]["content"]["application/json"]["schema"]
    jsonschema.validate(answer, {**schema, "components": document["components"]})
    name = schema["$ref"].rsplit("/", 1)[1]
    assert set(answer) <= set(document["components"]["schemas"][name]["properties"])
