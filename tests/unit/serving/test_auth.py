"""Who may use which route: every route of the app stands in one of two tables, and each closed one is tried."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Mount, Route

from serving.app import create_app
from tests.support.serving_parts import TOKEN, Bench, bench

OPEN = {
    "GET /api/v1/recommend/{user_id:any}",
    "POST /api/v1/recommend",
    "POST /api/v1/events",
    "POST /api/v1/events/watch",
    "POST /api/v1/events/search",
    "POST /api/v1/events/rating",
    "POST /api/v1/events/favorite",
    "POST /api/v1/feedback",
    "POST /api/v1/items",
    "PATCH /api/v1/items/{item_id:any}",
    "POST /api/v1/users",
    "PATCH /api/v1/users/{user_id:any}",
    "GET /api/v1/items/{item_id:any}/similar",
    "GET /api/v1/items",
    "GET /api/v1/items/stats",
    "GET /api/v1/items/{item_id:any}",
    "POST /api/v1/items/search",
    "GET /api/v1/onboarding",
    "GET /api/v1/models",
    "GET /api/v1/models/{version}",
    "GET /api/v1/experiments",
    "GET /recommend",
    "GET /api/v1/recs/{user_id:any}",
    "POST /events",
    "GET /api/v1/recs/models",
    "GET /api/v1/recs/models/{version}",
    "GET /api/v1/recs/experiments",
    "GET /api/v1/health",
    "GET /api/v1/health/live",
    "GET /api/v1/health/ready",
    "GET /model/info",
    "GET /health",
    "GET /health/live",
    "GET /health/ready",
    "GET /metrics",
    "GET /docs",
    "GET /openapi.json",
}
ADMIN = {
    "DELETE /api/v1/items/{item_id:any}",
    "DELETE /api/v1/users/{user_id:any}",
    "GET /api/v1/admin/dead-letters",
    "GET /api/v1/admin/dead-letters/{dead_letter_id}",
    "POST /api/v1/admin/dead-letters/{dead_letter_id}/fix",
    "POST /api/v1/admin/dead-letters/replay",
    "POST /api/v1/admin/dead-letters/discard",
    "GET /api/v1/admin/reconcile",
    "GET /api/v1/admin/audit",
    "GET /api/v1/recommendations/{recommendation_id}",
    "POST /api/v1/recommendations/{recommendation_id}/replay",
    "GET /api/v1/features/{user_id:any}",
    "POST /api/v1/features/{user_id:any}/refresh",
    "POST /model/reload",
    "POST /api/v1/models/rollback",
    "POST /api/v1/models/train",
    "POST /api/v1/recs/models/rollback",
    "POST /api/v1/recs/train",
}
HOSTILE_HEADERS = ["", "Bearer", "Bearer ", "Basic bGV0LW1lLWlu", f"Token {TOKEN}", TOKEN]
WRONG_TOKENS = ["no", TOKEN.upper(), TOKEN[:-1], TOKEN + "x", "\u00e9", "x" * 10_000]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Yield an app."""
    with bench(tmp_path_factory.mktemp("auth")) as parts:
        yield parts


def routes(parts: Bench) -> set[str]:
    """Return every method and path of the app; `HEAD` comes with `GET`."""
    found = set()
    for route in parts.app.routes:
        if isinstance(route, Mount):
            assert route.path == "/docs/assets"
            continue
        assert isinstance(route, APIRoute | Route)
        found |= {f"{method} {route.path}" for method in (route.methods or set()) - {"HEAD"}}
    return found


def ask(parts: Bench, line: str, **headers: str) -> httpx.Response:
    method, path = line.split(" ")
    for template, value in (
        ("{user_id:any}", "u"),
        ("{item_id:any}", "i1"),
        ("{dead_letter_id}", "1"),
        ("{version}", "1"),
    ):
        path = path.replace(template, value)

    async def use() -> httpx.Response:
        async with parts.client() as client:
            given = [(name.encode(), value.encode()) for name, value in headers.items()]
            return await client.request(method, path, headers=given)

    return asyncio.run(use())


def test_every_route_is_either_open_or_needs_the_admin(served: Bench) -> None:
    assert not OPEN & ADMIN
    assert routes(served) == OPEN | ADMIN


@pytest.mark.parametrize("line", sorted(OPEN))
def test_open_routes_ask_for_no_token(served: Bench, line: str) -> None:
    assert ask(served, line).status_code not in {401, 403}


@pytest.mark.parametrize("line", sorted(ADMIN))
def test_admin_routes_answer_401_without_a_token(served: Bench, line: str) -> None:
    for header in [None, *HOSTILE_HEADERS]:
        refused = ask(served, line, **({} if header is None else {"Authorization": header}))
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer"), header
        assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("line", sorted(ADMIN))
def test_admin_routes_answer_403_to_a_wrong_token(served: Bench, line: str) -> None:
    for token in WRONG_TOKENS:
        refused = ask(served, line, Authorization=f"Bearer {token}")
        assert refused.status_code == 403, token
        assert TOKEN not in refused.text
    assert ask(served, line, Authorization=f"Bearer {TOKEN}").status_code not in {401, 403}


@pytest.mark.parametrize("line", sorted(ADMIN))
def test_without_a_configured_token_nothing_opens_an_admin_route(tmp_path: Path, line: str) -> None:
    with bench(tmp_path) as parts:
        parts.app = create_app(replace(parts.parts, admin_token=""))
        for token in ("x", TOKEN):
            assert ask(parts, line, Authorization=f"Bearer {token}").status_code == 403
