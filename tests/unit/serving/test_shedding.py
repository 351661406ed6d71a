"""The limit on requests under way: it settles where answers take the time that they should, and refuses the rest."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.responses import Response
from starlette.types import Message as AsgiMessage
from starlette.types import Receive, Scope, Send

from features.kafka_bulk import Message
from serving.limits import Flight, FlightLimit
from serving.metrics import Metrics
from serving.shedding import LISTS, MOST_LOOKS, MOST_OPERATORS, MOST_VERSIONS, SheddingMiddleware, kind_of, limits_of
from tests.support.serving_parts import TOKEN, Bench, bench
from training.bundle.versions import RegisteredVersion


class Server:
    """Answers one request after the other, on a clock turned by hand; as many wait as the limit lets in."""

    def __init__(self, service_s: float, limit_of: dict[str, float]) -> None:
        self.now_s = 0.0
        self.service_s = service_s
        self.limit = FlightLimit(limit_of["target_s"], lowest=4, highest=64, clock_s=lambda: self.now_s)
        self.queue: list[Flight] = []
        self.refused = 0

    def offer(self, requests: int) -> None:
        """Let requests come at once."""
        for _ in range(requests):
            if self.limit.is_full:
                self.refused += 1
            else:
                self.queue.append(self.limit.begin())

    def answer(self) -> float:
        """Answer the oldest request and return how long it took."""
        flight = self.queue.pop(0)
        self.now_s += self.service_s
        flight.end()
        return self.now_s - flight.begun_s


@given(service_ms=st.floats(1, 15), target_ms=st.floats(60, 200))
@settings(max_examples=60, deadline=None)
def test_under_overload_answers_take_about_the_target_and_none_is_idle(service_ms: float, target_ms: float) -> None:
    server = Server(service_ms / 1000, {"target_s": target_ms / 1000})
    took = []
    for _ in range(3_000):
        server.offer(5)
        took.append(server.answer())
    settled = sorted(took[2_000:])
    fits = min(max(target_ms / service_ms, 4), 64)
    assert settled[len(settled) // 2] <= fits * server.service_s * 1.5
    assert settled[len(settled) // 2] >= fits * server.service_s / 1.6
    assert server.refused


def test_a_server_that_keeps_up_refuses_nobody() -> None:
    server = Server(0.005, {"target_s": 0.075})
    for _ in range(1_000):
        server.offer(1)
        server.answer()
    assert (server.refused, server.limit.under_way) == (0, 0)


def test_a_limit_shows_itself_when_it_changes() -> None:
    shown: list[int] = []
    now_s = 0.0
    limit = FlightLimit(0.1, lowest=4, highest=8, show=shown.append, clock_s=lambda: now_s)
    for _ in range(20):
        flight = limit.begin()
        now_s += 1.0
        flight.end()
    assert shown[0] == 8
    assert shown[-1] == limit.limit == 4


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/health/live", None),
        ("GET", "/metrics", None),
        ("GET", "/model/info", None),
        ("POST", "/model/reload", "operators"),
        ("GET", "/api/v1/recommend/u", "lists"),
        ("POST", "/api/v1/items/search", "lists"),
        ("GET", "/api/v1/items/i1/similar", "lists"),
        ("GET", "/api/v1/items", "catalogue"),
        ("GET", "/api/v1/items/i1", "catalogue"),
        ("GET", "/api/v1/items/stats", "catalogue"),
        ("POST", "/api/v1/items", "posted"),
        ("PATCH", "/api/v1/items/i1", "posted"),
        ("POST", "/api/v1/events/watch", "posted"),
        ("DELETE", "/api/v1/users/u", "operators"),
        ("POST", "/api/v1/users", "posted"),
        ("PATCH", "/api/v1/users/u", "posted"),
        ("GET", "/api/v1/models", "versions"),
        ("GET", "/api/v1/recs/models/7", "versions"),
        ("POST", "/api/v1/models/rollback", "operators"),
        ("POST", "/api/v1/recs/train", "operators"),
        ("GET", "/api/v1/recs/train", "lists"),
        ("GET", "/api/v1/recs/u", "lists"),
        ("GET", "/api/v1/recs/models-fan", "lists"),
        ("GET", "/recommend", "lists"),
        ("POST", "/events", "posted"),
        ("GET", "/api/v1/health/ready", None),
        ("GET", "/api/v1/recommendations/r1", "operators"),
    ],
)
def test_each_route_falls_under_its_limit(method: str, path: str, kind: str | None) -> None:
    assert kind_of(method, path) == kind


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bench]:
    """Yield an app that serves a version."""
    with bench(tmp_path) as parts:
        parts.registry.publish()
        yield parts


def test_what_is_over_the_limit_is_refused_at_once_and_probes_never(served: Bench) -> None:
    async def use() -> tuple[list[httpx.Response], list[httpx.Response]]:
        async with served.client() as client:
            served.store.held = asyncio.Event()
            waiting = [asyncio.create_task(client.get(f"/api/v1/recommend/u{n}")) for n in range(16)]
            await asyncio.sleep(0.2)
            # These are answered while all the others wait for their histories.
            refused = [await client.get("/api/v1/recommend/late"), await client.post("/api/v1/recommend", json={})]
            well = [await client.get(path) for path in ("/health/live", "/health/ready", "/metrics", "/model/info")]
            served.store.held.set()
            return refused, [*well, *(await asyncio.gather(*waiting))]

    refused, others = asyncio.run(use())
    assert [response.status_code for response in refused] == [503, 503]
    for response in refused:
        assert response.headers["retry-after"] == "1"
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["request_id"] == response.headers["x-request-id"]
    assert {response.status_code for response in others} == {200}
    assert 'marquee_requests_shed_total{kind="lists"} 2.0' in others[2].text


def test_places_are_free_again_after_answers_of_every_kind(served: Bench) -> None:
    async def use() -> set[int]:
        async with served.client() as client:
            found = set()
            for _ in range(40):
                answers = [
                    await client.get("/api/v1/recommend/u"),
                    await client.get("/api/v1/recommend/u", params={"k": 0}),
                    await client.post("/api/v1/recommend", json={"k": "many"}),
                    await client.get("/api/v1/items/nothing/similar"),
                ]
                found |= {answer.status_code for answer in answers}
            return found

    assert asyncio.run(use()) == {200, 404, 422}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_that_is_not_read_holds_no_place(method: str) -> None:
    limits = limits_of(Metrics(), 0.15)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await Response(b"[]")(scope, receive, send)

    middleware = SheddingMiddleware(app, Metrics(), limits)
    scope: Scope = {"type": "http", "method": method, "path": "/api/v1/recommend", "headers": []}

    async def receive() -> AsgiMessage:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def use() -> list[int]:
        read, under_way = asyncio.Event(), []

        async def send(message: AsgiMessage) -> None:
            if message["type"] == "http.response.start":
                await read.wait()  # as uvicorn's does while what came before is unread

        answers = [asyncio.create_task(middleware(scope, receive, send)) for _ in range(3)]
        await asyncio.sleep(0)
        under_way.append(limits[LISTS].under_way)
        read.set()
        await asyncio.gather(*answers)
        return [*under_way, limits[LISTS].under_way]

    assert asyncio.run(use()) == [0, 0]


def test_users_are_posted_by_as_many_at_once_as_items(served: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The front door's writers are not held to the few places that operators have."""
    send, together = served.sink.send, asyncio.Event()

    async def slow(messages: Sequence[Message]) -> None:
        await together.wait()
        await send(messages)

    monkeypatch.setattr(served.sink, "send", slow)

    async def use() -> list[int]:
        async with served.client() as client:
            user = {"user_id": "u", "attributes": {"city": "Graz"}}
            posted = [client.post("/api/v1/users", json=user) for _ in range(4 * MOST_OPERATORS)]
            patched = [client.patch("/api/v1/users/u", json={"attributes": {}}) for _ in range(4 * MOST_OPERATORS)]
            asked = [asyncio.create_task(request) for request in (*posted, *patched)]
            await asyncio.sleep(0.2)
            together.set()
            return [response.status_code for response in await asyncio.gather(*asked)]

    assert set(asyncio.run(use())) == {202}


def test_looks_at_the_catalogue_that_hang_take_no_places_of_lists(
    served: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use() -> tuple[list[int], list[int]]:
        thawed = asyncio.Event()

        async def hung(*_: object) -> None:
            await thawed.wait()

        monkeypatch.setattr(served.catalogue, "item", hung)
        async with served.client() as client:
            looks = [asyncio.create_task(client.get("/api/v1/items/i1")) for _ in range(2 * MOST_LOOKS)]
            await asyncio.sleep(0.2)
            refused = [look.result().status_code for look in looks if look.done()]
            lists = [
                (await client.get(path)).status_code for path in ("/api/v1/recommend/u", "/api/v1/items/i1/similar")
            ]
            thawed.set()
            await asyncio.gather(*looks)
            return refused, lists

    refused, lists = asyncio.run(use())
    assert (set(refused), set(lists)) == ({503}, {200})
    assert len(refused) >= MOST_LOOKS


def test_open_reads_that_hang_leave_operators_their_places(served: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions are for everybody to read, and to roll back is for the admin, while MLflow hangs too."""
    answers, versions = threading.Event(), served.registry.versions

    def hung() -> list[RegisteredVersion]:
        answers.wait(30)
        return versions()

    monkeypatch.setattr(served.registry, "versions", hung)

    async def use() -> tuple[httpx.Response, httpx.Response]:
        async with served.client() as client:
            reads = [asyncio.create_task(client.get("/api/v1/models")) for _ in range(MOST_VERSIONS)]
            await asyncio.sleep(0.2)
            one_more = await client.get("/api/v1/recs/models")
            headers = {"Authorization": f"Bearer {TOKEN}"}
            moves = asyncio.create_task(client.post("/api/v1/models/rollback", headers=headers))
            await asyncio.sleep(0.2)
            answers.set()
            await asyncio.gather(*reads)
            return one_more, await moves

    one_more, moved = asyncio.run(use())
    assert one_more.status_code == 503
    # It was let in: there is nothing to go back to.
    assert (moved.status_code, "no version before" in moved.json()["detail"]) == (409, True)
