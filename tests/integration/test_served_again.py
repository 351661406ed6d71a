"""What the API served is recorded, read, computed again to the bit, told where it differs, and erased."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import psycopg
import pytest
from pydantic import SecretStr

from features.build.live_statistics import refresh_statistics
from features.kafka import BACKFILL, PROCESSED_FEATURES
from features.settings import Settings
from ops.local.ports import free_port
from serving.bundle_cache import BundleCache, LastGood
from tests.conftest import WaitUntil
from tests.support.landing import ROOT, Rig, interaction, recreate_topics
from tests.support.serving import NOWHERE, TOKEN, Api, items_of
from tests.support.trained import rated, train

pytestmark = pytest.mark.integration

ADMIN = {"Authorization": f"Bearer {TOKEN}"}
SECRET = "of a test"  # noqa: S105


@dataclass
class Line:
    """A server that records all, over a trained bundle, and what it stands on."""

    rig: Rig
    api: Api
    wait_until: WaitUntil

    def admin(self, method: str, path: str, **headers: str) -> Any:
        """Return the answer of an admin's route, which must be a 200."""
        response = self.api.client.request(method, path, headers={**ADMIN, **headers})
        assert response.status_code == 200, response.text
        return response.json()

    def ask(self, **body: Any) -> dict[str, Any]:
        """Return an answer, in full, once it is recorded."""
        response = self.api.client.post("/api/v1/recommend", json=body, headers=ADMIN)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        path = f"/api/v1/recommendations/{answer['recommendation_id']}"
        self.wait_until(lambda: self.api.client.get(path, headers=ADMIN).status_code == 200, 30, "the list is recorded")
        return answer

    def replay(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return what computing a list again comes to."""
        found: dict[str, Any] = self.admin("POST", f"/api/v1/recommendations/{answer['recommendation_id']}/replay")
        return found


@pytest.fixture(scope="module")
def line(
    new_database: Callable[[], str],
    kafka_bootstrap: str,
    tmp_path_factory: pytest.TempPathFactory,
    wait_until: WaitUntil,
) -> Iterator[Line]:
    """Yield a server whose last good bundle was trained on what landed; its statistics are up to date."""
    folder = tmp_path_factory.mktemp("again")
    settings = Settings(
        database_url=SecretStr(new_database()),
        kafka_bootstrap_servers=kafka_bootstrap,
        erasure_secret=SecretStr(SECRET),
        work_dir=folder / "work",
    )
    recreate_topics(settings, partitions=2)
    rig, rng = Rig(settings), np.random.default_rng(7)
    rig.produce([rated(number, rng) for number in range(3_000)], headers=[BACKFILL])
    rig.land_all()
    bundle = train(settings, folder)
    refresh_statistics(settings)
    cache = BundleCache(folder / "bundles")
    cache.install(bundle.path, bundle.digest)
    cache.remember(LastGood("1", bundle.digest, "run"))
    api = Api(
        free_port(),
        {
            **{name: rig.environment[name] for name in ("MARQUEE_DATABASE_URL", "MARQUEE_KAFKA_BOOTSTRAP_SERVERS")},
            "MARQUEE_MLFLOW_TRACKING_URI": NOWHERE,
            "MARQUEE_CACHE_DIR": str(cache.folder),
            "MARQUEE_WORK_DIR": str(settings.work_dir),
            "MARQUEE_ERASURE_SECRET": SECRET,
            "MARQUEE_RECORD_SHARE": "1",
        },
        folder / "api.log",
    )
    try:
        api.start()
        wait_until(lambda: api.info()["version"] == "1", 60, "the last good version is served")
        yield Line(rig, api, wait_until)
    finally:
        api.end()
        rig.end()


def test_a_served_list_comes_out_again_whatever_came_meanwhile(line: Line) -> None:
    inline = [{"item_id": "i5", "action": "rating", "value": 4.5}, {"item_id": "i9"}]
    answers = [
        line.ask(user_id="u1", k=10, history=inline, exclude=["i2"], diversity=0.3, context={"page": "home"}),
        line.ask(user_id="u2", k=48),
        line.ask(user_id="u3", candidates=["i1", "i2", "i7", "nobody knows"]),
        line.ask(k=5),
    ]
    before = items_of(line.api.recommend("u1"))
    line.rig.produce([interaction(9_000 + n, user_id="u1", item_id=f"i{n}", action="like") for n in range(8)])
    line.rig.land_all()
    line.wait_until(lambda: items_of(line.api.recommend("u1")) != before, 30, "the user's list is another")

    for answer in answers:
        found = line.replay(answer)
        assert found["same"], found
        assert found["item_ids"] == items_of(answer)
        assert found["notes"] == []
    assert line.replay(answers[0])["feature_rows"]["compared"] > 20


def test_a_record_names_inputs_rows_and_timings(line: Line) -> None:
    answer = line.ask(user_id="u4", k=3, explain=True)
    record = line.admin("GET", f"/api/v1/recommendations/{answer['recommendation_id']}")
    made_from = answer["explanation"]
    for name in ("as_of_us", "statistics_closed_at_us", "bundle_digest", "spec_hash", "history_event_ids"):
        assert record[name] == made_from[name]
    assert (record["user_id"], record["model_version"], record["ordered_by"]) == ("u4", "1", "ranker")
    assert record["request"]["k"] == 3
    assert {"profile", "retrieve", "features", "rank"} <= set(record["took_ms"])
    assert [item["item_id"] for item in record["items"]] == items_of(answer)
    by_id = {candidate["item_id"]: candidate for candidate in record["candidates"]}
    for item in answer["items"]:
        assert by_id[item["item_id"]]["features"] == item["explanation"]["features"]
        assert by_id[item["item_id"]]["ranks"] == item["explanation"]["ranks"]


def test_what_is_not_recorded_says_that_only_a_share_is(line: Line) -> None:
    for method, path in (("GET", ""), ("POST", "/replay")):
        response = line.api.client.request(method, f"/api/v1/recommendations/never-served{path}", headers=ADMIN)
        assert response.status_code == 404
        assert "MARQUEE_RECORD_SHARE" in response.json()["detail"]


def test_a_changed_event_and_a_lost_one_are_told(line: Line) -> None:
    answer = line.ask(user_id="u5", k=10)
    assert line.replay(answer)["same"]
    [(event_id, value)] = line.rig.rows(
        "SELECT event_id, value FROM interactions WHERE user_id = 'u5' AND value > 4 ORDER BY known_at DESC LIMIT 1"
    )
    line.rig.rows("UPDATE interactions SET value = 0.5 WHERE event_id = %s", event_id, fetch=False)
    changed = line.replay(answer)
    assert not changed["same"]
    assert "user_liked" in {feature["name"] for feature in changed["feature_rows"]["features"]}
    line.rig.rows("UPDATE interactions SET value = %s WHERE event_id = %s", value, event_id, fetch=False)
    assert line.replay(answer)["same"]

    line.rig.rows("DELETE FROM interactions WHERE event_id = %s", event_id, fetch=False)
    lost = line.replay(answer)
    assert not lost["same"]
    assert event_id in lost["notes"][0]


def test_statistics_that_were_computed_anew_are_told_by_feature(line: Line) -> None:
    # On a busy machine a history may be out of reach for a second, and a list without one has no feature rows.
    answer = line.wait_until(
        lambda: (found := line.ask(user_id="u6", k=10))["fallback_reason"] is None and found, 60, "a personal list"
    )
    line.rig.rows("UPDATE item_statistics SET seen = seen + 1000", fetch=False)
    changed = line.replay(answer)
    line.rig.rows("UPDATE item_statistics SET seen = seen - 1000", fetch=False)
    assert {feature["name"] for feature in changed["feature_rows"]["features"]} & {"item_liked", "item_disliked"}
    assert line.replay(answer)["same"]


def test_the_command_computes_a_list_again_without_the_server(line: Line) -> None:
    answer = line.ask(user_id="u7")
    environment = {**os.environ, **line.api.settings}
    command = [sys.executable, "-m", "serving", "replay", answer["recommendation_id"], "--json"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert orjson.loads(done.stdout)["same"]
    elsewhere = {**environment, "MARQUEE_CACHE_DIR": str(line.rig.settings.work_dir)}
    done = subprocess.run(command, env=elsewhere, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "neither served nor kept" in done.stderr


def test_features_of_a_user_are_refreshed_and_published(line: Line) -> None:
    asked = line.admin("GET", "/api/v1/features/u8")
    features = {feature["name"]: feature["value"] for feature in asked["features"]}
    assert features["user_events"] == asked["history"]["events"] > 0
    assert asked["spec_hash"] == line.api.info()["spec_hash"]
    seen = asked["history"]["items_seen"]

    line.rig.rows("UPDATE user_seen SET item_ids = '{gone before}' WHERE user_id = 'u8'", fetch=False)
    done = line.admin("POST", "/api/v1/features/u8/refresh", **{"X-Request-Id": "refreshing"})
    assert done["refreshed"] == {"items_seen_before": 1, "items_seen": seen + 1, "published": True}
    [message] = [m for m in line.rig.messages(PROCESSED_FEATURES) if m.key == b"u8"]
    assert orjson.loads(message.value) == done

    nobody = line.admin("POST", "/api/v1/features/nobody/refresh")
    assert (nobody["known"], nobody["refreshed"]["published"]) == (False, False)
    entries = line.admin("GET", "/api/v1/admin/audit?limit=2")["events"]
    assert [(entry["action"], entry["target"]) for entry in entries] == [("refresh", "nobody"), ("refresh", "u8")]
    assert (entries[1]["actor"], entries[1]["correlation_id"]) == ("admin", "refreshing")


def test_erasing_a_user_takes_records_and_names_away(line: Line) -> None:
    answers = [line.ask(user_id="u9"), line.ask(user_id="u9")]
    line.admin("POST", "/api/v1/features/u9/refresh")
    receipt = line.admin("DELETE", "/api/v1/users/u9")
    assert receipt["rows"]["served_lists"] == 2
    assert receipt["audit_events"] == 1
    for answer in answers:
        path = f"/api/v1/recommendations/{answer['recommendation_id']}"
        assert line.api.client.get(path, headers=ADMIN).status_code == 404
    erased, refreshed = line.admin("GET", "/api/v1/admin/audit?limit=2")["events"]
    assert (erased["action"], refreshed["action"]) == ("erase", "refresh")
    assert erased["target"] == refreshed["target"] != "u9"
    assert line.admin("GET", "/api/v1/features/u9")["known"] is False
    for table in ("served_lists", "audit_events"):
        held = line.rig.rows(f"SELECT 1 FROM {table} AS row WHERE row::text LIKE %s", "%u9%")  # noqa: S608
        assert held == []


def test_a_reload_is_noted_whatever_came_of_it(line: Line) -> None:
    response = line.api.client.post("/model/reload", headers={**ADMIN, "X-Request-Id": "reloading"})
    assert response.status_code == 503  # no registry here
    [entry] = line.admin("GET", "/api/v1/admin/audit?limit=1")["events"]
    assert (entry["action"], entry["correlation_id"], entry["details"]["outcome"]) == ("reload", "reloading", "away")


def test_deeds_are_noted_however_many_there_are_and_whatever_else_operators_do(line: Line) -> None:
    def reload(number: int) -> int:
        headers = {**ADMIN, "X-Request-Id": f"at-once-{number}"}
        return line.api.client.post("/model/reload", headers=headers).status_code

    def read() -> int:
        return line.api.client.get("/api/v1/recommendations/never-served", headers=ADMIN).status_code

    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'marquee-operators'"
    with (
        ThreadPoolExecutor(8) as threads,
        psycopg.connect(line.rig.settings.database_url.get_secret_value()) as connection,
    ):
        connection.execute("LOCK TABLE served_lists IN ACCESS EXCLUSIVE MODE")
        long = [threads.submit(read) for _ in range(2)]
        line.wait_until(lambda: len(line.rig.rows(waiting)) == 2, 30, "both places of operators are taken")
        assert read() == 503
        assert set(threads.map(reload, range(12))) == {503}  # no registry here
        connection.rollback()
        assert [job.result() for job in long] == [404, 404]
    entries = line.admin("GET", "/api/v1/admin/audit?limit=12")["events"]
    assert {entry["correlation_id"] for entry in entries} == {f"at-once-{number}" for number in range(12)}
