"""The API process while something behind it is away: stopped for real, then started again."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from features.kafka_admin import Admin
from features.settings import Settings
from ops.local.databases import create_databases
from ops.local.direct import running
from ops.local.layout import Layout
from ops.local.ports import free_port, free_ports
from ops.local.processes import end, stack_processes
from ops.local.service import Service
from ops.local.services import kafka, postgres
from ops.local.stack import Stack
from ops.local.state import Secrets, State
from tests.conftest import WaitUntil
from tests.support.commands import run_command
from tests.support.serving import NOWHERE, Api, items_of, request_loop, seed_cache

pytestmark = pytest.mark.integration

LIKE = {"user_id": "u", "item_id": "i3", "action": "like"}


@dataclass
class Backing:
    """Services of this module's own, which tests may stop."""

    stack: Stack
    held: dict[str, AbstractContextManager[Any]] = field(default_factory=dict)

    def start(self, service: Service) -> None:
        """Start a service and return once it is ready."""
        self.held[service.name] = running(service, self.stack)
        self.held[service.name].__enter__()

    def stop(self, name: str) -> None:
        """Stop a service, if it runs."""
        if name in self.held:
            self.held.pop(name).__exit__(None, None, None)


@pytest.fixture(scope="module")
def backing() -> Iterator[Backing]:
    """Yield running Postgres and Kafka, migrated and with topics; no MLflow."""
    folder = Path(tempfile.mkdtemp(prefix="marquee-faults-"))
    folder.chmod(0o711)  # Postgres runs as another account where tests run as root
    stack = Stack(Layout(folder / "run", folder / "mlruns"), State(free_ports(), Secrets()))
    stack.layout.run_dir.mkdir()
    backing = Backing(stack)
    try:
        backing.start(postgres.service(stack))
        create_databases(stack)
        run_command("features", "migrate", environment=stack.process_environment()).check_returncode()
        backing.start(kafka.service(stack))
        with Admin(settings_of(stack)) as admin:
            admin.create_topics(partitions=2)
        yield backing
    finally:
        for name in list(backing.held):
            backing.stop(name)
        end(stack_processes(stack.layout))
        shutil.rmtree(folder, ignore_errors=True)


def settings_of(stack: Stack) -> Settings:
    return Settings(
        database_url=SecretStr(stack.database_url("marquee")),
        kafka_bootstrap_servers=stack.settings()["MARQUEE_KAFKA_BOOTSTRAP_SERVERS"],
    )


@pytest.fixture
def api(backing: Backing, tmp_path: Path) -> Iterator[Api]:
    """Yield a server that is not started yet; MLflow is away, and the cache of bundles empty."""
    settings = {**backing.stack.settings(), "MARQUEE_MLFLOW_TRACKING_URI": NOWHERE}
    settings |= {
        "MARQUEE_CACHE_DIR": str(tmp_path / "bundles"),
        "MARQUEE_ADMIN_TOKEN": "let-me-in",
        "MARQUEE_WORKERS": "1",
    }
    port = free_port()
    api = Api(port, {**settings, "MARQUEE_API_PORT": str(port)}, tmp_path / "api.log")
    yield api
    api.end()


def cache_of(api: Api) -> Path:
    return Path(api.settings["MARQUEE_CACHE_DIR"])


def test_without_mlflow_it_starts_from_the_last_good_bundle(api: Api, wait_until: WaitUntil) -> None:
    digest = seed_cache(cache_of(api))
    api.start()
    assert api.client.get("/health/ready").status_code == 200
    info = wait_until(lambda: (info := api.info())["registry_error"] and info, 60, "the registry's absence is noticed")
    assert (info["digest"], info["version"]) == (digest, "1")
    told = api.client.get("/model/info", headers={"Authorization": "Bearer let-me-in"}).json()["registry_error"]
    assert (NOWHERE in told, NOWHERE in info["registry_error"]) == (True, False)
    answer = api.recommend("someone")
    assert len(items_of(answer)) == 20
    assert (answer["degraded"], answer["fallback_reason"]) == (False, "no_history")
    assert api.client.get("/health").json()["checks"]["registry"] == "away"
    assert api.client.post("/model/reload", headers={"Authorization": "Bearer let-me-in"}).status_code == 503


def test_with_no_bundle_at_all_it_is_not_ready_and_serves_what_postgres_calls_popular(api: Api) -> None:
    api.start()
    assert api.client.get("/health/ready").status_code == 503
    answer = api.recommend("someone")
    assert (answer["degraded"], answer["fallback_reason"], answer["model_version"]) == (True, "no_model", None)


def test_with_nothing_at_all_it_lives_and_says_what_is_missing(api: Api) -> None:
    nowhere = NOWHERE.removeprefix("http://")
    api.settings = {
        **api.settings,
        "MARQUEE_DATABASE_URL": f"postgresql://nobody:none@{nowhere}/none",
        "MARQUEE_KAFKA_BOOTSTRAP_SERVERS": nowhere,
        "MARQUEE_WORKERS": "2",
    }
    api.start()
    assert api.client.get("/health/ready").status_code == 503
    for refused in (api.client.get("/api/v1/recommend/u"), api.client.post("/api/v1/events", json=LIKE)):
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.headers["content-type"] == "application/problem+json"
    assert api.client.get("/health").json()["status"] == "unavailable"
    assert api.stop() == 0


def test_while_postgres_is_stopped_answers_go_on_and_say_so(api: Api, backing: Backing, wait_until: WaitUntil) -> None:
    seed_cache(cache_of(api))
    api.start()
    assert api.recommend("u")["degraded"] is False
    try:
        with request_loop(api) as loop:
            backing.stop("postgres")
            answer = wait_until(
                lambda: (answer := api.recommend("u", k=7))["degraded"] and answer, 60, "the answer is degraded"
            )
            inline = {"user_id": "u", "history": [{"item_id": "i3", "action": "like"}]}
            personal = api.client.post("/api/v1/recommend", json=inline).json()
            posted = api.client.post("/api/v1/events", json=LIKE)
            backing.start(postgres.service(backing.stack))
            wait_until(lambda: api.recommend("u")["degraded"] is False, 60, "all is well again")
    finally:
        if "postgres" not in backing.held:
            backing.start(postgres.service(backing.stack))

    assert loop.failures == []
    assert answer["fallback_reason"] == personal["fallback_reason"] == "profile_unavailable"
    assert len(items_of(answer)) == 7
    assert "i3" not in items_of(personal)
    assert any("i3" in item["reason"] for item in personal["items"])
    assert posted.status_code == 202, "events go to Kafka, which is there"


def test_a_start_without_postgres_serves_and_catches_up(api: Api, backing: Backing, wait_until: WaitUntil) -> None:
    seed_cache(cache_of(api))
    backing.stop("postgres")
    try:
        api.start()
        assert api.recommend("u")["fallback_reason"] == "profile_unavailable"
        anonymous = api.client.post("/api/v1/recommend", json={}).json()
        assert anonymous["degraded"] is True
    finally:
        backing.start(postgres.service(backing.stack))
    wait_until(
        lambda: api.client.post("/api/v1/recommend", json={}).json()["degraded"] is False, 30, "live state is there"
    )
    assert api.client.get("/health").json()["checks"]["postgres"] == "ok"


def test_while_kafka_is_stopped_events_get_a_quick_503_and_lists_go_on(
    api: Api, backing: Backing, wait_until: WaitUntil
) -> None:
    seed_cache(cache_of(api))
    api.start()
    wait_until(lambda: api.client.post("/api/v1/events", json=LIKE).status_code == 202, 60, "Kafka takes events")
    backing.stop("kafka")
    try:
        times = []
        for _ in range(4):
            started = time.monotonic()
            refused = api.client.post("/api/v1/events", json=LIKE)
            times.append(time.monotonic() - started)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert refused.headers["content-type"] == "application/problem+json"
        assert max(times) < 5
        assert min(times) < 0.5
        started = time.monotonic()
        assert len(items_of(api.recommend("u"))) == 20
        assert time.monotonic() - started < 2
    finally:
        backing.start(kafka.service(backing.stack))
    wait_until(lambda: api.client.post("/api/v1/events", json=LIKE).status_code == 202, 60, "Kafka takes events again")


def test_health_tells_of_kafka_where_nothing_is_posted(api: Api, backing: Backing, wait_until: WaitUntil) -> None:
    def said() -> str:
        started = time.monotonic()
        word: str = api.client.get("/health").json()["checks"]["kafka"]
        assert time.monotonic() - started < 1
        return word

    def stays_away() -> None:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert said() == "away"
            time.sleep(0.1)

    seed_cache(cache_of(api))
    backing.stop("kafka")
    try:
        api.start()
        wait_until(lambda: said() == "away", 30, "it is asked, and is not there")
        stays_away()
    finally:
        backing.start(kafka.service(backing.stack))
    wait_until(lambda: said() == "ok", 30, "it is back")
    backing.stop("kafka")
    try:
        wait_until(lambda: said() == "away", 30, "it has gone")
        stays_away()
    finally:
        backing.start(kafka.service(backing.stack))
    wait_until(lambda: said() == "ok", 30, "it is back again")


def test_sigterm_answers_what_has_begun_and_ends(api: Api) -> None:
    seed_cache(cache_of(api))
    api.start()
    with request_loop(api) as loop:
        assert api.recommend("u")
        code = api.stop()
    assert code in {0, -15}
    # Once the socket is closed nobody is let in; no answer was cut off, and no connection before its last answer.
    assert all("ConnectError" in failure for failure in loop.failures), set(loop.failures)
