"""The API while Postgres is slow, full, read-only, and while MLflow answers nonsense: caused for real, then mended.

`benchmarks/fault_matrix.py` measures the same; here it is only whether lists come, and what they say.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from features.contracts.errors import UnavailableError
from features.settings import Settings
from features.store import Store
from ops.local.ports import free_port
from serving.guard import Guard
from tests.conftest import WaitUntil
from tests.support.pools import connected_pool
from tests.support.proxy import Toxic
from tests.support.services import Services, own_services
from tests.support.serving import NOWHERE, Api, items_of, request_loop, seed_cache

pytestmark = pytest.mark.integration

SERVING = "marquee-serving"
SLOW = Toxic(latency_s=0.25)
DEADLINE_MS = "300"
"""Longer than the server's own, for busy machines; a history that comes half a second later is late by it, too."""


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """Yield a Postgres of this module's own."""
    with own_services(kafka=False) as services:
        yield services


@pytest.fixture(scope="module")
def databases(services: Services) -> tuple[Settings, Settings]:
    """Return settings of a database, and the same by way of the proxy."""
    return services.new_settings()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose cache holds a last good bundle."""
    folder = tmp_path_factory.mktemp("api")
    seed_cache(folder / "bundles")
    return folder


def server(folder: Path, via: Settings, mlflow_uri: str) -> Api:
    port = free_port()
    settings = {
        "MARQUEE_DATABASE_URL": via.database_url.get_secret_value(),
        "MARQUEE_KAFKA_BOOTSTRAP_SERVERS": NOWHERE.removeprefix("http://"),
        "MARQUEE_MLFLOW_TRACKING_URI": mlflow_uri,
        "MARQUEE_CACHE_DIR": str(folder / "bundles"),
        "MARQUEE_DEADLINE_MS": DEADLINE_MS,
    }
    return Api(port, settings, folder / "api.log")


@pytest.fixture(scope="module")
def api(databases: tuple[Settings, Settings], folder: Path) -> Iterator[Api]:
    """Yield a running server; Kafka and MLflow are away."""
    api = server(folder, databases[1], NOWHERE)
    api.start()
    yield api
    api.end()


def is_well(api: Api) -> bool:
    return api.recommend("u")["degraded"] is False


def test_a_history_that_is_late_is_left_out_and_the_answer_says_so(
    api: Api, services: Services, wait_until: WaitUntil
) -> None:
    wait_until(lambda: is_well(api), 30, "all is well")
    with request_loop(api) as loop, services.postgres_proxy.poisoned(SLOW):
        late = wait_until(lambda: (answer := api.recommend("u", k=7))["degraded"] and answer, 30, "it is degraded")
    wait_until(lambda: is_well(api), 30, "all is well again")
    assert late["fallback_reason"] in {"profile_late", "profile_unavailable"}
    assert len(items_of(late)) == 7
    assert loop.failures == []


def test_without_a_connection_to_be_had_lists_go_on_without_histories(
    api: Api, services: Services, databases: tuple[Settings, Settings], wait_until: WaitUntil
) -> None:
    wait_until(lambda: is_well(api), 30, "all is well")
    with request_loop(api) as loop, services.crowded(databases[0], ending=SERVING):
        wait_until(lambda: not is_well(api), 30, "it is degraded")
    wait_until(lambda: is_well(api), 30, "all is well again")
    assert loop.failures == []


def test_a_failover_to_a_read_only_server_changes_nothing(
    api: Api, services: Services, databases: tuple[Settings, Settings], wait_until: WaitUntil
) -> None:
    wait_until(lambda: is_well(api), 30, "all is well")
    with request_loop(api) as loop, services.read_only(databases[0], ending=SERVING):
        wait_until(lambda: is_well(api), 30, "all is well, on new connections")
    assert loop.failures == []


def test_a_guards_limit_holds_while_an_established_connection_is_silent(
    services: Services, databases: tuple[Settings, Settings]
) -> None:
    """The driver asks to break off what is late, and waits for the outcome: ten seconds, where nothing answers."""

    async def asked() -> float:
        guard = Guard("Postgres", timeout_s=0.5, rest_s=60, failures=1)
        async with connected_pool(databases[1]) as pool:
            store = Store(pool)
            assert await guard.call(lambda: store.history("u")) is not None
            with services.postgres_proxy.poisoned(Toxic(silent=True)):
                began_s = time.monotonic()
                with pytest.raises(UnavailableError, match="no answer within"):
                    await guard.call(lambda: store.history("u"))
                assert guard.away
                return time.monotonic() - began_s

    assert asyncio.run(asked()) < 4


class _Garbage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"\xff<html>not what you asked for"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def garbage_uri() -> Iterator[str]:
    """Yield the address of a server that answers everything with 200 and nonsense."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Garbage)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_registry_that_answers_nonsense_is_away_and_the_last_good_bundle_serves(
    databases: tuple[Settings, Settings], folder: Path, garbage_uri: str, wait_until: WaitUntil
) -> None:
    api = server(folder, databases[1], garbage_uri)
    try:
        api.start()
        assert len(items_of(api.recommend("u"))) == 20
        wait_until(lambda: api.client.get("/health").json()["checks"]["registry"] == "away", 60, "nonsense is noticed")
        assert len(items_of(api.recommend("u"))) == 20
    finally:
        api.end()
