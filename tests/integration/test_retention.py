"""Old events go in small steps, and every count holds, however often it is interrupted."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from pydantic import SecretStr

from features.admin import retention
from features.build.live_statistics import refresh_statistics
from features.build.part_files import PartFiles
from features.contracts.errors import ContractError
from features.contracts.parts import FOLDER, whole
from features.db.connection import connect
from features.db.queries import queries
from features.kafka import INTERACTIONS
from features.kafka_admin import Admin
from features.kafka_sockets import connected
from features.settings import Settings
from tests.conftest import WaitUntil
from tests.support.landing import Rig, interaction, recreate_topics

pytestmark = pytest.mark.integration

DAY_MS = 86_400_000
WAITING = (
    "SELECT 1 FROM pg_locks JOIN pg_database ON database = pg_database.oid "
    "WHERE datname = current_database() AND relation = 'statistics_progress'::regclass AND NOT granted"
)
"""A row for whoever waits for the progress of item statistics."""


@pytest.fixture
def rig(database_url: str, kafka_bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Yield a rig whose first 300 events occurred and landed 40 days ago, the other 100 occurred today."""
    settings = Settings(
        database_url=SecretStr(database_url), kafka_bootstrap_servers=kafka_bootstrap, work_dir=tmp_path
    )
    monkeypatch.setenv("MARQUEE_WORK_DIR", str(tmp_path))
    recreate_topics(settings, partitions=2)
    rig = Rig(settings)
    now = datetime.now(UTC)
    times = [now - timedelta(days=40)] * 300 + [now] * 100
    context = {"text": "x" * 500}  # some pages, not one
    rig.produce(interaction(number, occurred_at=at.isoformat(), context=context) for number, at in enumerate(times))
    rig.produce_raw([b"{", b"[1]", b"7"])
    rig.land_all()
    rig.rows("UPDATE interactions SET landed_at = occurred_at RETURNING 1")
    rig.rows("UPDATE dead_letters SET landed_at = now() - interval '40 days', published_at = now() RETURNING 1")
    rig.rows("UPDATE dead_letters SET discarded_at = now() WHERE reason = 'not_json' RETURNING 1")
    yield rig
    rig.end()


def retained(rig: Rig, *options: str) -> dict[str, Any]:
    """Return what the command did."""
    done: dict[str, Any] = json.loads(rig.command("retain", "--json", *options).stdout)
    return done


def holds(rig: Rig) -> bool:
    return rig.command("reconcile", check=False).returncode == 0


def snapshot_of(rig: Rig) -> Path:
    """Return the parts of a run's snapshot: four rows of each of fifty users, half of them 40 days old."""
    folder = rig.settings.work_dir / "nightly-1" / "snapshot" / FOLDER
    folder.mkdir(parents=True)
    now = datetime.now(UTC)
    times = [now - timedelta(days=40 * (number % 2)) for number in range(200)]
    columns = {"user_id": [f"u{number // 4}" for number in range(200)], "occurred_at": times}
    rows = pa.table(columns)
    with PartFiles(folder, rows.schema) as parts:
        parts.write(rows)
    return folder


def test_old_events_and_finished_letters_go_and_the_account_holds(rig: Rig) -> None:
    parts = snapshot_of(rig)
    assert retained(rig)["rows"] == {}  # 0 days: all is kept
    planned = retained(rig, "--days", "30", "--dry-run")
    assert (planned["rows"]["interactions"], planned["dead_letters"]) == (300, 1)
    done = retained(rig, "--days", "30")
    assert (done["rows"], done["dead_letters"]) == (planned["rows"], 1)
    assert (planned["snapshot_rows"], done["snapshot_rows"]) == (100, 100)
    assert sum(pq.read_metadata(part).num_rows for part in whole(parts)) == 100

    assert rig.rows("SELECT count(*)::int FROM interactions") == [(100,)]
    assert rig.rows("SELECT sum(expired)::int, sum(letters_expired)::int FROM consumer_offsets") == [(300, 1)]
    assert rig.rows("SELECT count(*)::int FROM dead_letters") == [(2,)]
    [(seen,)] = rig.rows("SELECT count(*)::int FROM user_seen")
    assert seen == 40
    assert holds(rig)
    assert retained(rig, "--days", "30")["rows"]["interactions"] == 0


def test_item_statistics_know_until_when_their_events_are_gone(rig: Rig) -> None:
    rig.rows("UPDATE interactions SET known_at = occurred_at RETURNING 1")
    refresh_statistics(rig.settings)
    counted = "SELECT sum(seen)::int FROM newest_item_statistics"
    assert rig.rows(counted) == [(300,)]
    [(last,)] = rig.rows("SELECT max(known_at) FROM interactions WHERE landed_at < now() - interval '30 days'")
    retained(rig, "--days", "30", "--dry-run")
    assert rig.rows("SELECT extract(epoch FROM whole_since)::int FROM statistics_progress") == [(0,)]
    retained(rig, "--days", "30")
    assert rig.rows("SELECT whole_since FROM statistics_progress") == [(last,)]
    late = "UPDATE interactions SET known_at = now() - interval '1 hour', landed_at = now() RETURNING 1"
    assert len(rig.rows(late)) == 100
    assert refresh_statistics(rig.settings).items_rebuilt > 0
    assert rig.rows(counted) == [(400,)]


def test_while_it_waits_for_a_refresh_of_statistics_others_work(rig: Rig, wait_until: WaitUntil) -> None:
    with ThreadPoolExecutor(1) as pool:
        with connect(rig.settings, name="test") as refresh, refresh.transaction():
            queries.lock_statistics(refresh)
            done = pool.submit(retained, rig, "--days", "30")
            wait_until(lambda: rig.rows(WAITING), 60, "retention waits for the refresh")
            free = [rig.rows("SELECT 1 FROM consumer_offsets FOR UPDATE SKIP LOCKED")]
            free += [rig.rows("SELECT 1 FROM interactions FOR UPDATE SKIP LOCKED")]
        [all_of_them] = rig.rows("SELECT (SELECT count(*) FROM consumer_offsets), 400")
        assert tuple(map(len, free)) == all_of_them, "landing moves offsets, an erasure deletes rows"
        assert done.result()["rows"]["interactions"] == 300
    assert holds(rig)


def test_a_refresh_may_take_longer_than_any_statement_of_retention(rig: Rig, wait_until: WaitUntil) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        Admin(rig.settings) as admin,
        connect(rig.settings, name="test", statement_timeout_s=2) as connection,
    ):
        with connect(rig.settings, name="test") as refresh, refresh.transaction():
            queries.lock_statistics(refresh)
            done = pool.submit(retention.retain, connection, admin, 30, datetime.now(UTC))
            longer = f"{WAITING} AND waitstart < clock_timestamp() - interval '3 s'"
            wait_until(lambda: done.done() or rig.rows(longer), 60, "retention has waited for the refresh")
        assert done.result().rows["interactions"] == 300
        assert connection.execute("SHOW statement_timeout").fetchone() == ("2s",)


def test_interrupted_it_has_counted_what_went_and_repeated_it_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGES_AT_ONCE", 3)

    class Interrupted(BaseException):
        """As Ctrl-C between two steps."""

    def stop(_: str, done: int, pages: int) -> None:
        if done >= 0.7 * pages:  # the first half holds what the fixture's update left behind
            raise Interrupted

    with Admin(rig.settings) as admin:
        with connect(rig.settings, name="test") as connection, pytest.raises(Interrupted):
            retention.retain(connection, admin, 30, datetime.now(UTC), on_pages=stop)
        [(left,)] = rig.rows("SELECT count(*)::int FROM interactions")
        assert 100 < left < 400
        assert holds(rig)
        with connect(rig.settings, name="test") as connection:
            done = retention.retain(connection, admin, 30, datetime.now(UTC))
    assert done.rows["interactions"] == left - 100
    assert holds(rig)


@pytest.mark.parametrize(("kept_ms", "told"), [(-1, "for ever"), (50 * DAY_MS, "rows stay 50 days")])
def test_what_a_topic_may_still_hold_stays(rig: Rig, kept_ms: int, told: str) -> None:
    client = connected(KafkaAdminClient, rig.settings.kafka_bootstrap_servers)
    try:
        wanted = {"retention.ms": str(kept_ms)}
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, INTERACTIONS, wanted)])
    finally:
        client.close()
    done = retained(rig, "--days", "30")
    assert done["rows"]["interactions"] == 0
    assert told in done["held_back"][INTERACTIONS]
    assert holds(rig)


def test_records_of_served_lists_go_after_days_of_their_own(rig: Rig) -> None:
    rig.rows(
        "INSERT INTO served_lists (recommendation_id, served_at, request, history_event_ids, item_ids, scores, "
        "sources, reasons, degraded, lacking, took_s) "
        "SELECT 'r' || days, now() - make_interval(days => days), '{}', '{}', '{}', '{}', '{}', '{}', false, '{}', "
        "'{}' FROM generate_series(1, 600) AS days",
        fetch=False,
    )
    assert retained(rig, "--dry-run")["served_lists"] == 571  # MARQUEE_RECORD_DAYS is 30
    done = retained(rig)  # events are all kept
    assert (done["served_lists"], done["rows"], done["occurred_before"]) == (571, {}, None)
    assert retained(rig, "--days", "10")["served_lists"] == 20  # as no event is kept for longer
    assert rig.rows("SELECT count(*)::int FROM served_lists") == [(9,)]


def test_days_below_zero_are_refused(rig: Rig) -> None:
    with (
        connect(rig.settings, name="test") as connection,
        Admin(rig.settings) as admin,
        pytest.raises(ContractError, match="MARQUEE_RETENTION_DAYS"),
    ):
        retention.retain(connection, admin, -1, datetime.now(UTC))
