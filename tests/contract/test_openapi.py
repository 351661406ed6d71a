"""The OpenAPI document says of every route what it is, and describes what the server answers."""

import asyncio
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from features.audit import Action
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
    ("get", "/api/v1/models"),
    ("get", "/api/v1/models/{version}"),
    ("post", "/api/v1/models/rollback"),
    ("post", "/api/v1/models/train"),
    ("get", "/api/v1/experiments"),
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
ALIASES = {
    ("get", "/recommend"): "alias_recommend",
    ("get", "/api/v1/recs/{user_id}"): "alias_recs",
    ("post", "/events"): "alias_events",
    ("get", "/api/v1/recs/models"): "alias_models",
    ("get", "/api/v1/recs/models/{version}"): "alias_model",
    ("post", "/api/v1/recs/models/rollback"): "alias_roll_back",
    ("post", "/api/v1/recs/train"): "alias_train",
    ("get", "/api/v1/recs/experiments"): "alias_experiments",
    ("get", "/api/v1/health"): "alias_health",
    ("get", "/api/v1/health/live"): "alias_health_live",
    ("get", "/api/v1/health/ready"): "alias_health_ready",
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
    assert set(found) == ROUTES | set(ALIASES)
    for operation in found.values():
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"]
    names = [operation["operationId"] for operation in found.values()]
    assert len(names) == len(set(names))


def test_refusals_are_described_as_problem_documents(document: dict[str, Any]) -> None:
    for (_, path), operation in operations(document).items():
        refusals = {status: r for status, r in operation["responses"].items() if not status.startswith(("2", "3"))}
        assert path.startswith(("/health", "/api/v1/health", "/metrics")) or "422" in refusals
        assert "default" in refusals
        for status, refusal in refusals.items():
            health = status == "503" and "/health" in path
            assert list(refusal["content"]) == ["application/json" if health else "application/problem+json"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_aliases_say_whose_they_are(document: dict[str, Any]) -> None:
    found = operations(document)
    described = {(key, operation["operationId"]) for key, operation in found.items() if "aliases" in operation["tags"]}
    assert described == {*ALIASES.items(), (("get", "/api/v1/experiments"), "list_experiments")}
    for key in ALIASES:
        method, path = found[key]["summary"].removeprefix("Alias of ").split(" ")
        target = found[method.lower(), path]
        assert found[key]["description"].startswith(f"Alias of `{method} {path}`.")
        # Lists by their other names are not explained, so that no token opens more of them.
        unexplained = {"403"} if "explain" in str(target.get("parameters")) else set()
        assert found[key]["responses"].keys() == target["responses"].keys() - unexplained


def test_every_route_has_examples_of_its_schema(document: dict[str, Any]) -> None:
    for (_, path), operation in operations(document).items():
        for parameter in operation.get("parameters", []):
            valid(document, parameter["schema"], parameter["example"])
        for media, content in operation.get("requestBody", {"content": {}})["content"].items():
            assert content["examples"], (path, media)
        answers = [r["content"] for status, r in operation["responses"].items() if status.startswith("2")]
        if path != "/metrics":
            [answer] = answers
            valid(document, answer["application/json"]["schema"], answer["application/json"]["example"])


def valid(document: dict[str, Any], schema: dict[str, Any], example: Any) -> None:
    """Hold an example against its schema."""
    jsonschema.validate(example, {**schema, "components": document["components"]})


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


def test_the_audit_names_every_act_that_is_kept(document: dict[str, Any]) -> None:
    assert document["components"]["schemas"]["AuditEntry"]["properties"]["action"]["enum"] == list(get_args(Action))


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
                    if "admin" in operation["tags"]:  # tests/integration/test_front_door.py has what they need
                        continue
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
