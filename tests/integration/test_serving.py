"""The API, two workers, against real Postgres, Kafka and MLflow: fresh answers, hot swaps, refused versions."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from features.contracts.events import Impression, decode_event, stamp_event
from features.kafka import IMPRESSIONS, ITEMS
from features.settings import Settings
from ops.local.ports import free_port
from tests.conftest import WaitUntil
from tests.support.landing import START, Rig, recreate_topics
from tests.support.proxy import TOXICS, Proxy
from tests.support.serving import TOKEN, Api, items_of, publish_tiny, request_loop, without_digest
from training.bundle.aliases import move_alias
from training.bundle.registry import Registry
from training.bundle.versions import RegisteredVersion

pytestmark = pytest.mark.integration

WORKERS = 2
SWAPS = 50
FEW = 10
"""Swaps after which memory stands where it stays."""
ADMIN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def rig(new_database: Callable[[], str], kafka_bootstrap: str) -> Iterator[Rig]:
    """Yield a rig over a database of this module and fresh topics, with landing running."""
    rig = Rig(Settings(database_url=SecretStr(new_database()), kafka_bootstrap_servers=kafka_bootstrap))
    recreate_topics(rig.settings, partitions=2)
    rig.start_landing()
    yield rig
    rig.end()


@pytest.fixture(scope="module")
def registry(mlflow_uri: str) -> Registry:
    """Return the registered model of this module."""
    return Registry(mlflow_uri, "serving-tests")


@pytest.fixture(scope="module")
def new_version(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RegisteredVersion]:
    """Return a function that publishes another tiny bundle."""
    seeds = count(100)
    return lambda **how: publish_tiny(registry, tmp_path_factory.mktemp("published"), next(seeds), **how)


@pytest.fixture(scope="module")
def way_to_mlflow(registry: Registry) -> Iterator[Proxy]:
    """Yield the way by which the server reaches MLflow, which a test may cut."""
    proxy = Proxy(int(registry.tracking_uri.rsplit(":", 1)[1]))
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def api(  # noqa: PLR0917  # the parts of a stack
    rig: Rig,
    registry: Registry,
    way_to_mlflow: Proxy,
    new_version: Callable[..., RegisteredVersion],
    tmp_path_factory: pytest.TempPathFactory,
    wait_until: WaitUntil,
) -> Iterator[Api]:
    """Yield a server that serves a version."""
    folder = tmp_path_factory.mktemp("api")
    promoted = new_version()
    move_alias(registry, "champion", promoted.version)
    api = Api(
        free_port(),
        {
            "MARQUEE_DATABASE_URL": rig.settings.database_url.get_secret_value(),
            "MARQUEE_KAFKA_BOOTSTRAP_SERVERS": rig.settings.kafka_bootstrap_servers,
            "MARQUEE_MLFLOW_TRACKING_URI": f"http://127.0.0.1:{way_to_mlflow.port}",
            "MARQUEE_MODEL_NAME": registry.model_name,
            "MARQUEE_CACHE_DIR": str(folder / "bundles"),
            "MARQUEE_WORKERS": str(WORKERS),
        },
        folder / "api.log",
    )
    try:
        api.start()
        wait_until(lambda: api.serve(promoted.version) == WORKERS, 60, "the first version is served")
        yield api
    finally:
        api.end()


def promote(registry: Registry, version: RegisteredVersion, api: Api, wait_until: WaitUntil) -> float:
    """Return the seconds from the move of the alias until all workers serve the version."""
    move_alias(registry, "champion", version.version)
    started = time.monotonic()
    wait_until(lambda: api.serve(version.version) == WORKERS, 60, f"version {version.version} is served")
    return time.monotonic() - started


def test_a_click_changes_the_next_answer(api: Api, wait_until: WaitUntil) -> None:
    before = api.recommend("clicker", k=5)
    assert (before["degraded"], before["fallback_reason"]) == (False, "no_history")

    posted = api.client.post("/api/v1/events", json={"user_id": "clicker", "item_id": "i3", "action": "like"})
    assert posted.status_code == 202
    assert [result["status"] for result in posted.json()["results"]] == ["accepted"]

    after = wait_until(
        lambda: (answer := api.recommend("clicker", k=5))["fallback_reason"] is None and answer, 60, "a personal list"
    )
    assert items_of(after) != items_of(before)
    assert "i3" not in items_of(after)
    assert after["degraded"] is False
    assert any("i3" in item["reason"] for item in after["items"])


def test_inline_history_counts_as_if_it_had_landed(api: Api, wait_until: WaitUntil) -> None:
    inline = api.client.post("/api/v1/recommend", json={"history": [{"item_id": "i7", "action": "like"}], "k": 10})
    api.client.post("/api/v1/events", json={"user_id": "same", "item_id": "i7", "action": "like"})
    landed = wait_until(
        lambda: (answer := api.recommend("same", k=10))["fallback_reason"] is None and answer, 60, "a personal list"
    )
    assert items_of(inline.json()) == items_of(landed)
    assert inline.json()["user_id"] is None


def test_item_state_is_live(api: Api, rig: Rig, wait_until: WaitUntil) -> None:
    def say(**fields: object) -> None:
        rig.produce([stamp_event({"type": "item", "item_id": "i11", **fields}, now=next(moments), event_id=next(ids))])

    def of_the_bundle() -> int:
        # What other tests published fills a list up, too.
        return len([item_id for item_id in items_of(api.recommend("watcher", k=50)) if item_id.startswith("i")])

    moments = (START.replace(hour=hour) for hour in range(10))
    ids = (f"item-{number}" for number in range(10))
    say(title="Heat", categories=["Crime"])
    in_crime = {"k": 30, "categories": "Crime"}
    wait_until(lambda: items_of(api.recommend("watcher", **in_crime)) == ["i11"], 60, "the category is known")
    assert api.recommend("watcher", **in_crime)["items"][0]["title"] == "Heat"
    assert of_the_bundle() == 30

    say(title="Heat", categories=["Crime"], hidden=True)
    wait_until(lambda: of_the_bundle() == 29, 60, "the item is hidden")
    assert api.recommend("watcher", **in_crime)["items"] == []

    say(title="Heat", categories=["Crime"])
    wait_until(lambda: of_the_bundle() == 30, 60, "the item is back")


def test_impressions_reach_kafka_with_position_source_and_score(api: Api, rig: Rig, wait_until: WaitUntil) -> None:
    answer = api.recommend("seer", k=3, experiment_id="exp-1")

    def shown() -> list[Impression]:
        events = [decode_event(message.value) for message in rig.messages(IMPRESSIONS)]
        return [e for e in events if isinstance(e, Impression) and e.recommendation_id == answer["recommendation_id"]]

    [impression] = wait_until(shown, 60, "the impression is in Kafka")
    assert (impression.user_id, impression.experiment_id) == ("seer", "exp-1")
    assert impression.model_version == answer["model_version"]
    assert [(i.item_id, i.position, i.source) for i in impression.items] == [
        (item["item_id"], item["rank"], item["source"]) for item in answer["items"]
    ]
    assert [i.score for i in impression.items] == pytest.approx([item["score"] for item in answer["items"]])


def test_refused_events_are_named_and_the_others_are_sent(api: Api, rig: Rig, wait_until: WaitUntil) -> None:
    batch = [{"item_id": "i1", "user_id": "mixed", "action": "view", "event_id": "good-1"}, {"item_id": 1.5}, 7]
    refused = api.client.post("/api/v1/events", json=batch)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert [result["status"] for result in refused.json()["results"]] == ["accepted", "refused", "refused"]
    assert {"item_id", "user_id"} <= {error["path"] for error in refused.json()["results"][1]["errors"]}
    wait_until(lambda: rig.rows("SELECT 1 FROM interactions WHERE event_id = 'good-1'"), 60, "the good event landed")


def test_an_idempotency_key_makes_a_retry_harmless(api: Api, rig: Rig, wait_until: WaitUntil) -> None:
    body = {"events": [{"user_id": "twice", "item_id": f"i{number}", "action": "view"} for number in range(3)]}
    first, second = (api.client.post("/api/v1/events", json=body, headers={"Idempotency-Key": "K"}) for _ in range(2))
    assert first.json() == second.json()
    api.client.post("/api/v1/events", json={"user_id": "twice", "item_id": "i9", "action": "view", "event_id": "last"})
    wait_until(lambda: rig.rows("SELECT 1 FROM interactions WHERE event_id = 'last'"), 60, "all landed")
    assert rig.rows("SELECT count(*)::int FROM interactions WHERE user_id = 'twice'") == [(4,)]


def test_items_go_to_their_topic(api: Api, rig: Rig) -> None:
    posted = api.client.post(
        "/api/v1/events", json={"type": "item", "item_id": "new", "title": "New", "event_id": "n1"}
    )
    assert posted.status_code == 202
    assert "n1" in {decode_event(message.value).event_id for message in rig.messages(ITEMS)}


def test_a_promotion_is_served_and_no_request_fails(
    api: Api, registry: Registry, new_version: Callable[..., RegisteredVersion], wait_until: WaitUntil
) -> None:
    old, new = api.info()["version"], new_version()
    with request_loop(api) as loop:
        promote(registry, new, api, wait_until)
        wait_until(lambda: loop.versions[-1:] == [new.version], 60, "the loop sees it")
    assert loop.failures == []
    assert set(loop.versions) == {old, new.version}
    assert loop.versions.count(new.version) > 0


@pytest.mark.parametrize(
    ("how", "tagged", "said"),
    [
        ({"flip": True}, True, "factors.npy"),
        ({"spec": False}, True, "feature spec"),
        ({}, False, "no tag `digest`"),
    ],
    ids=["flipped byte", "other spec", "no digest"],
)
def test_a_broken_version_is_refused_and_the_old_one_serves(  # noqa: PLR0917  # pytest passes names
    how: dict[str, bool],
    tagged: bool,  # noqa: FBT001  # a parameter of the case
    said: str,
    api: Api,
    registry: Registry,
    new_version: Callable[..., RegisteredVersion],
    wait_until: WaitUntil,
) -> None:
    sound = api.info()["version"]
    broken = new_version(**how)
    if not tagged:
        without_digest(registry, broken)
    with request_loop(api) as loop:
        registry.set_alias("champion", broken.version)
        refused = wait_until(
            lambda: api.client.get("/model/info", headers=ADMIN).json()["refused"], 30, "it is refused"
        )
    assert loop.failures == []
    assert set(loop.versions) == {sound}
    assert refused["version"] == broken.version
    assert said in refused["reason"]
    assert api.info()["version"] == sound
    assert 'outcome="refused"' in api.client.get("/metrics").text

    again = api.client.post("/model/reload", headers=ADMIN)
    assert again.status_code == 409
    assert said in again.json()["detail"]

    promote(registry, new_version(), api, wait_until)
    assert api.info()["refused"] is None
    assert api.info()["version"] != sound


def test_fifty_swaps_in_a_row_fail_no_request_mix_nothing_and_leave_nothing_behind(
    api: Api, registry: Registry, new_version: Callable[..., RegisteredVersion], wait_until: WaitUntil
) -> None:
    # Some megabytes each, so that one that is kept shows.
    versions = [new_version(prefix=prefix, n_items=400) for prefix in "ab"]
    for version in versions:
        promote(registry, version, api, wait_until)
    memory = []
    with request_loop(api) as loop:
        for swap in range(SWAPS):
            target = versions[swap % 2]
            registry.set_alias("champion", target.version)
            reloaded = api.client.post("/model/reload", headers=ADMIN)
            assert reloaded.json()["version"] == target.version
            wait_until(lambda: api.serve(target.version) == WORKERS, 30, "both workers serve it")  # noqa: B023
            memory.append(api.memory())
    assert loop.failures == []
    assert loop.prefixes == {versions[0].version: {"a"}, versions[1].version: {"b"}}
    assert max(memory[FEW:]) < max(memory[:FEW]) + 20e6
    kept = {path.name for path in Path(api.settings["MARQUEE_CACHE_DIR"]).iterdir() if path.is_dir()} - {"encoders"}
    assert kept == {version.digest for version in versions}
    promote(registry, new_version(), api, wait_until)


def test_reload_needs_the_token_and_says_what_is_served(api: Api) -> None:
    assert api.client.post("/model/reload").status_code == 401
    assert api.client.post("/model/reload", headers={"Authorization": "Bearer no"}).status_code == 403
    answer = api.client.post("/model/reload", headers=ADMIN)
    assert answer.json() == {"outcome": "unchanged", "version": api.info()["version"]}


def test_old_bundles_leave_the_disk(api: Api, wait_until: WaitUntil) -> None:
    def kept() -> set[str]:
        return {path.name for path in Path(api.settings["MARQUEE_CACHE_DIR"]).iterdir() if path.is_dir()} - {"encoders"}

    # A bundle is served a moment before older ones are removed.
    wait_until(lambda: len(kept()) <= 2, 30, "old bundles are gone")
    assert api.info()["digest"] in kept()


def test_health_names_what_it_depends_on(api: Api, wait_until: WaitUntil) -> None:
    api.recommend("healthy", k=1)
    all_well = {"model": "ok", "postgres": "ok", "kafka": "ok", "registry": "ok"}
    wait_until(lambda: api.client.get("/health").json()["checks"] == all_well, 30, "all is well")
    assert api.client.get("/health").status_code == 200
    assert api.client.get("/health/ready").json() == {"ready": True}
    metrics = api.client.get("/metrics").text
    assert 'route="/api/v1/recommend/{user_id}"' in metrics
    for step in ("profile", "retrieve", "order", "explain"):
        assert f'marquee_stage_seconds_count{{stage="{step}"}}' in metrics


def answered(api: Api) -> float:
    """Return how many lists were answered, by all workers."""
    series = re.findall(r"^marquee_recommendations_total{.*} (.*)$", api.metrics(), re.MULTILINE)
    return sum(map(float, series))


def test_one_scrape_counts_for_all_workers(api: Api) -> None:
    before = answered(api)
    for number in range(20):
        with httpx.Client(base_url=api.client.base_url, timeout=60) as client:
            client.get(f"/api/v1/recommend/scraped-{number}").raise_for_status()
    assert answered(api) == before + 20


def test_when_a_worker_is_killed_others_go_on_and_another_takes_its_place(api: Api, wait_until: WaitUntil) -> None:
    workers, before = api.workers(), answered(api)
    assert len(workers) == WORKERS
    killed = workers.pop()
    os.kill(killed, signal.SIGKILL)
    for number in range(20):
        with httpx.Client(base_url=api.client.base_url, timeout=60) as client:
            client.get(f"/api/v1/recommend/survivor-{number}").raise_for_status()
    api.client.close()
    api.__post_init__()  # its connection may have been to the one that is dead
    wait_until(lambda: len(api.workers()) == WORKERS and api.serve(api.info()["version"]) == WORKERS, 60, "two serve")
    assert killed not in api.workers()
    assert workers < api.workers()
    assert answered(api) >= before + 20, "what it counted stays counted"


def test_a_rolling_restart_fails_no_request(api: Api, wait_until: WaitUntil) -> None:
    assert api.process is not None
    old = api.workers()
    with request_loop(api) as loop:
        api.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(api.workers()) == WORKERS and not api.workers() & old, 90, "all workers are new")
        seen = len(loop.versions)
        wait_until(lambda: len(loop.versions) > seen + 20, 60, "they answer")
    assert loop.failures == []
    assert set(loop.versions) == {api.info()["version"]}


def moves(api: Api) -> list[dict[str, object]]:
    """Return the moves of the alias that the audit holds, newest first."""
    events = api.client.get("/api/v1/admin/audit?limit=1000", headers=ADMIN).json()["events"]
    return [event for event in events if event["action"] in {"promote", "rollback"}]


def test_a_rollback_is_served_by_all_and_no_request_fails(
    api: Api, registry: Registry, new_version: Callable[..., RegisteredVersion], wait_until: WaitUntil
) -> None:
    good, bad = new_version(), new_version()
    promote(registry, good, api, wait_until)
    # Two moves past us within two seconds are noted as one, and a rollback goes to where the first began.
    wait_until(lambda: moves(api)[0]["target"] == good.version, 30, "the promotion is noted")
    promote(registry, bad, api, wait_until)
    with request_loop(api) as loop:
        back = api.client.post(
            "/api/v1/models/rollback", json={"reason": "worse"}, headers={**ADMIN, "X-Request-Id": "going-back"}
        )
        wait_until(lambda: api.serve(good.version) == WORKERS, 60, "all serve the version before")
    assert back.json() == {"alias": "champion", "version": good.version, "before": bad.version, "served": True}
    assert loop.failures == []
    assert set(loop.versions) <= {good.version, bad.version}
    newest = moves(api)[0]
    assert (newest["actor"], newest["action"], newest["target"]) == ("admin", "rollback", good.version)
    assert newest["correlation_id"] == "going-back"
    where = {"alias": "champion", "model": registry.model_name, "from": bad.version}
    assert newest["details"] == {**where, "reason": "worse"}
    told = api.client.get(f"/api/v1/models/{good.version}", headers=ADMIN).json()["moves"][0]
    assert (told["by"], told["how"], told["from"], told["reason"]) == ("admin", "rollback", bad.version, "worse")


def test_mlflow_that_is_gone_before_a_move_is_read_delays_the_move_and_no_request_fails(
    api: Api,
    registry: Registry,
    new_version: Callable[..., RegisteredVersion],
    way_to_mlflow: Proxy,
    wait_until: WaitUntil,
) -> None:
    old, new = new_version(), new_version()
    promote(registry, old, api, wait_until)
    with request_loop(api) as loop:
        with way_to_mlflow.poisoned(TOXICS["down"]):
            registry.set_alias("champion", new.version)
            wait_until(lambda: api.info()["registry_error"], 60, "the server has looked in vain")
            assert api.info()["version"] == old.version
        wait_until(lambda: api.serve(new.version) == WORKERS, 60, "all serve the new version")
    assert loop.failures == []
    assert set(loop.versions) <= {old.version, new.version}


def move_as_its_page_does(registry: Registry, version: str) -> None:
    """Move the alias by the request that MLflow's page of a version sends when aliases are saved there."""
    asked = {"name": registry.model_name, "alias": "champion", "version": version}
    httpx.post(f"{registry.tracking_uri}/ajax-api/2.0/mlflow/registered-models/alias", json=asked).raise_for_status()


def test_a_move_in_mlflows_pages_is_served_noted_once_and_can_be_taken_back(
    api: Api, registry: Registry, new_version: Callable[..., RegisteredVersion], wait_until: WaitUntil
) -> None:
    good, bad = new_version(), new_version()
    promote(registry, good, api, wait_until)
    wait_until(lambda: moves(api)[0]["target"] == good.version, 30, "the promotion is noted")
    with request_loop(api) as loop:
        move_as_its_page_does(registry, bad.version)
        wait_until(lambda: api.serve(bad.version) == WORKERS, 60, "all serve it")
        wait_until(lambda: moves(api)[0]["target"] == bad.version, 30, "the move is noted")
        told = api.client.get(f"/api/v1/models/{bad.version}", headers=ADMIN).json()["moves"][0]
        assert (told["by"], told["from"], told["to"]) == ("MLflow UI (unknown)", good.version, bad.version)
        assert api.client.post("/api/v1/models/rollback", headers=ADMIN).json()["version"] == good.version
        wait_until(lambda: api.serve(good.version) == WORKERS, 60, "all serve the version before")
    assert loop.failures == []
    rollback, moved, *_ = moves(api)
    assert (rollback["action"], rollback["target"]) == ("rollback", good.version)
    assert (moved["actor"], moved["action"], moved["target"]) == ("MLflow UI (unknown)", "promote", bad.version)
    assert [move["target"] for move in moves(api)].count(bad.version) == 1
