"""The front door against real Kafka, Postgres and landing: lost replies, patches, deletions, operators' routes."""

import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from features.kafka import INTERACTIONS
from features.settings import Settings
from ops.local.ports import LOOPBACK, free_port
from tests.conftest import WaitUntil
from tests.support.landing import Rig, recreate_topics
from tests.support.serving import NOWHERE, TOKEN, Api

pytestmark = pytest.mark.integration

ADMIN = {"Authorization": f"Bearer {TOKEN}"}
SECRET = "a secret of this test only"  # noqa: S105


@pytest.fixture(scope="module")
def rig(new_database: Callable[[], str], kafka_bootstrap: str) -> Iterator[Rig]:
    """Yield a rig over a database of this module and fresh topics, with landing running."""
    url = new_database()
    settings = Settings(
        database_url=SecretStr(url), kafka_bootstrap_servers=kafka_bootstrap, erasure_secret=SecretStr(SECRET)
    )
    rig = Rig(settings)
    recreate_topics(rig.settings, partitions=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARQUEE_ERASURE_SECRET", SECRET)
        rig.start_landing()
        yield rig
    rig.end()


@pytest.fixture(scope="module")
def api(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Yield a server without a model: the front door needs none."""
    folder = tmp_path_factory.mktemp("front-door")
    settings = {
        "MARQUEE_DATABASE_URL": rig.settings.database_url.get_secret_value(),
        "MARQUEE_KAFKA_BOOTSTRAP_SERVERS": rig.settings.kafka_bootstrap_servers,
        "MARQUEE_MLFLOW_TRACKING_URI": NOWHERE,
        "MARQUEE_ERASURE_SECRET": SECRET,
        "MARQUEE_CACHE_DIR": str(folder / "bundles"),
        "MARQUEE_WORK_DIR": str(folder / "work"),
    }
    api = Api(free_port(), settings, folder / "api.log")
    try:
        api.start()
        yield api
    finally:
        api.end()


def whole_message(connection: socket.socket) -> bytes:
    """Return one HTTP message with a `Content-Length`."""
    got = b""
    while True:
        head, end, body = got.partition(b"\r\n\r\n")
        length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
        if end and len(body) >= int(length.split(b":")[1]):
            return got
        part = connection.recv(1 << 20)
        assert part, "the connection ended in the middle of a message"
        got += part


@contextmanager
def losing_replies(port: int, lost: int) -> Iterator[int]:
    """Yield the port of a proxy that passes requests on, and drops as many replies before it lets one through."""
    over, left = threading.Event(), [lost]

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection((LOOPBACK, port)) as server:
            server.sendall(whole_message(client))
            reply = whole_message(server)
            if left[0]:
                left[0] -= 1
            else:
                client.sendall(reply)

    def accept() -> None:
        while not over.is_set():
            try:
                serve(listener.accept()[0])
            except TimeoutError:
                continue

    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join()


def post(api: Api, path: str, body: Any, **headers: str) -> list[str]:
    """Return the ids of events that were accepted."""
    answer = api.client.post(path, json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return [result["event_id"] for result in answer.json()["results"]]


def test_a_post_retried_after_lost_replies_lands_once(api: Api, rig: Rig, wait_until: WaitUntil) -> None:
    events = [{"user_id": "retrier", "item_id": f"i{number}", "action": "view"} for number in range(20)]
    key, attempts = str(uuid.uuid4()), 0
    with losing_replies(api.port, lost=3) as port:
        while True:
            attempts += 1
            try:
                with httpx.Client(timeout=60) as client:
                    answer = client.post(
                        f"http://{LOOPBACK}:{port}/api/v1/events", json=events, headers={"Idempotency-Key": key}
                    )
            except httpx.TransportError:
                continue
            break
    assert (answer.status_code, attempts) == (202, 4)
    ids = {result["event_id"] for result in answer.json()["results"]}
    assert ids == {str(uuid.uuid5(uuid.UUID(key), str(place))) for place in range(20)}

    def landed() -> list[tuple[Any, ...]]:
        return rig.rows("SELECT event_id FROM interactions WHERE user_id = 'retrier'")

    wait_until(lambda: rig.counters()["duplicate"] >= 60, 60, "all four attempts are landed")
    assert {row[0] for row in landed()} == ids
    assert len(landed()) == 20


def test_shortcuts_land_as_interactions(api: Api, rig: Rig, wait_until: WaitUntil) -> None:
    who = {"user_id": "short"}
    [watch] = post(api, "/api/v1/events/watch", {**who, "item_id": "i1", "watched_s": 30, "total_s": 120})
    [search] = post(api, "/api/v1/events/search", {**who, "query": "heist"})
    [rating] = post(api, "/api/v1/events/rating", {**who, "item_id": 7, "rating": 4.5})
    [favorite] = post(api, "/api/v1/events/favorite", {**who, "item_id": "i1", "favorite": False})

    def landed() -> list[tuple[Any, ...]]:
        return rig.rows("SELECT event_id, action, item_id, value FROM interactions WHERE user_id = 'short'")

    wait_until(lambda: len(landed()) == 4, 60, "all four are landed")
    assert set(landed()) == {
        (watch, "watch", "i1", 0.25),
        (search, "search", None, None),
        (rating, "rating", "7", 4.5),
        (favorite, "favorite", "i1", -1.0),
    }


def test_items_are_posted_patched_hidden_and_deleted(api: Api, rig: Rig, wait_until: WaitUntil) -> None:
    def state() -> tuple[Any, ...]:
        rows = rig.rows("SELECT title, categories, stock, hidden, deleted FROM items WHERE item_id = 'a/b ☃'")
        return rows[0] if rows else ()

    path = "/api/v1/items/a%2Fb%20%E2%98%83"
    post(api, "/api/v1/items", {"item_id": "a/b ☃", "title": "Heat", "categories": ["Crime"], "stock": 3})
    wait_until(lambda: state() == ("Heat", ["Crime"], 3, False, False), 60, "the item is there")
    assert api.client.patch(path, json={"stock": 0, "hidden": True}).status_code == 202
    wait_until(lambda: state() == ("Heat", ["Crime"], 0, True, False), 60, "the patch is there")
    assert api.client.patch(path, json={"hidden": False}).status_code == 202
    assert api.client.delete(path).status_code == 401
    assert api.client.delete(path, headers=ADMIN).status_code == 202
    wait_until(lambda: state() == ("Heat", ["Crime"], 0, False, True), 60, "the item is deleted")
    assert latest_deed(api) == ("admin", "delete", "a/b ☃", {})
    post(api, "/api/v1/items", {"item_id": "a/b ☃", "title": "Heat"})
    wait_until(lambda: state() == ("Heat", [], None, False, False), 60, "a whole version brings it back")


def latest_deed(api: Api) -> tuple[Any, ...]:
    """Return who did what last, to what, and what came of it."""
    [entry] = api.client.get("/api/v1/admin/audit?limit=1", headers=ADMIN).json()["events"]
    return entry["actor"], entry["action"], entry["target"], entry["details"]


def test_a_dead_letter_is_found_mended_and_replayed_by_api(api: Api, rig: Rig, wait_until: WaitUntil) -> None:
    poison = b'{"type":"interaction","schema_version":1,"event_id":"poison-1","occurred_at":"2026-01-01T00:00:00Z",'
    rig.produce_raw([poison + b'"user_id":"mended","item_id":"i1","action":"NO WAY"}'], INTERACTIONS)
    route = "/api/v1/admin/dead-letters"

    def ask(method: str, path: str, status: int = 200, **how: Any) -> Any:
        answer = api.client.request(method, path, headers=ADMIN, **how)
        assert answer.status_code == status, answer.text
        return answer.json()

    def waiting() -> Any:
        return ask("GET", route, params={"reason": "invalid_field", "open": True})["dead_letters"]

    [letter] = wait_until(waiting, 60, "the letter is there")
    one = f"{route}/{letter['dead_letter_id']}"
    assert "NO WAY" in ask("GET", one)["raw"]
    assert ask("GET", f"{route}/999999", 404)["status"] == 404
    assert ask("POST", f"{one}/fix", 422, json={"set": {"action": "STILL WRONG"}})["code"] == "invalid_field"
    assert ask("POST", f"{one}/fix", json={"set": {"action": "view"}})["state"] == "fixed"
    assert ask("POST", f"{route}/replay", 422, json={})["status"] == 422
    wanted = {"ids": [letter["dead_letter_id"]]}
    assert ask("POST", f"{route}/replay", json={**wanted, "dry_run": True})["replayed"] == 1
    assert ask("POST", f"{route}/replay", json=wanted)["replayed"] == 1
    told = {**wanted, "ids_given": 1, "count": 1, "force": False}
    assert latest_deed(api) == ("admin", "replay", "dead letters", told)
    wait_until(
        lambda: rig.rows("SELECT 1 FROM interactions WHERE event_id = 'poison-1' AND action = 'view'"), 60, "landed"
    )
    assert ask("POST", f"{route}/discard", json=wanted)["discarded"] == 0
    assert latest_deed(api) == ("admin", "discard", "dead letters", {**wanted, "ids_given": 1, "count": 0})
    assert ask("GET", route)["counts"]["replayed"] == 1


def test_a_user_is_erased_by_api_and_does_not_come_back(api: Api, rig: Rig, wait_until: WaitUntil) -> None:
    def rows() -> int:
        return len(rig.rows("SELECT 1 FROM interactions WHERE user_id = 'gone/☃'"))

    event = {"user_id": "gone/☃", "item_id": "i1", "action": "view"}
    post(api, "/api/v1/events", [event, event])
    wait_until(lambda: rows() == 2, 60, "they are landed")
    path = "/api/v1/users/gone%2F%E2%98%83"
    assert api.client.delete(path).status_code == 401
    receipt = api.client.delete(path, headers=ADMIN)
    assert receipt.status_code == 200, receipt.text
    assert receipt.json()["rows"]["interactions"] == 2
    assert rows() == 0
    skipped = rig.counters()["skipped"]
    post(api, "/api/v1/events", event)
    wait_until(lambda: rig.counters()["skipped"] == skipped + 1, 60, "what arrives later is skipped")
    assert rows() == 0


def test_every_event_is_accounted_for_by_api(api: Api, wait_until: WaitUntil) -> None:
    post(api, "/api/v1/events", {"user_id": "u", "item_id": "i", "action": "view"})

    def account() -> Any:
        return api.client.get("/api/v1/admin/reconcile", params={"trend": 1}, headers=ADMIN).json()

    def settled() -> Any:
        found = account()
        return found if found["holds"] and not any(part["lag"] for part in found["partitions"]) else None

    found = wait_until(settled, 30, "nothing is left to land, and the account holds")
    assert {part["topic"] for part in found["partitions"]} >= {INTERACTIONS}
    assert found["trend"]["actions"]


def test_more_than_two_jobs_of_operators_are_put_off(api: Api) -> None:
    answers: list[int] = []

    def ask() -> None:
        answers.append(httpx.get(f"http://{LOOPBACK}:{api.port}/api/v1/admin/reconcile", headers=ADMIN).status_code)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) == {200, 503}, answers
