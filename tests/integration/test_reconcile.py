"""Losses planted by hand are found and named, with real Postgres and Kafka."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from features.contracts.events import encode_event
from features.kafka import INTERACTIONS
from features.settings import Settings
from tests.support.landing import Rig, interaction, recreate_topics

pytestmark = pytest.mark.integration

VIDEO_RATED = "profile-service.video-rated"


@pytest.fixture
def rig(database_url: str, kafka_bootstrap: str) -> Iterator[Rig]:
    """Yield a rig over a fresh database and topics of one partition, with thirty events and a bad one landed."""
    settings = Settings(database_url=SecretStr(database_url), kafka_bootstrap_servers=kafka_bootstrap)
    recreate_topics(settings, partitions=1)
    rig = Rig(settings)
    rig.produce([interaction(number) for number in range(30)])
    rig.produce_raw([b"{"])
    rig.land_all()
    yield rig
    rig.end()


def account(rig: Rig, topic: str = INTERACTIONS) -> dict[str, Any]:
    """Return the account of a topic's only partition; the exit code says whether all of them hold."""
    done = rig.command("reconcile", "--json", check=False)
    assert done.returncode in {0, 1}, done.stderr
    answer = json.loads(done.stdout)
    assert answer["holds"] == (done.returncode == 0) == all(found["holds"] for found in answer["partitions"])
    [found] = [found for found in answer["partitions"] if found["topic"] == topic]
    assert set(found["problems"]) == {line.partition(": ")[2] for line in done.stderr.splitlines() if topic in line}
    return dict(found)


def test_all_is_well_where_nobody_meddled(rig: Rig) -> None:
    found = account(rig)
    assert found["holds"]
    assert found["problems"] == []
    assert (found["stored"], found["dead"], found["rows"], found["dead_letters"], found["read"]) == (30, 1, 30, 1, 31)


def test_a_deleted_row_is_found_and_its_offset_named(rig: Rig) -> None:
    rig.rows("DELETE FROM interactions WHERE kafka_offset IN (3, 17) RETURNING 1")
    found = account(rig)
    assert found["rows_missing"] == 2
    assert found["problems"] == ["2 stored rows are gone: offsets without row or letter: 3, 17"]


def test_where_duplicates_leave_gaps_too_that_is_said(rig: Rig) -> None:
    rig.produce([interaction(1), interaction(31)])
    rig.land_all()
    assert account(rig)["holds"]
    rig.rows("DELETE FROM interactions WHERE kafka_offset = 4 RETURNING 1")
    [problem] = account(rig)["problems"]
    assert "without row or letter: 4, 31; 1 more offsets" in problem


def test_an_inserted_row_is_found_and_named(rig: Rig) -> None:
    rig.rows(
        "INSERT INTO interactions SELECT 'by hand', user_id, item_id, action, value, occurred_at, known_at, landed_at, "
        "schema_version, recommendation_id, context, topic, partition, kafka_offset FROM interactions "
        "WHERE kafka_offset = 5 RETURNING 1"
    )
    found = account(rig)
    assert found["rows_missing"] == -1
    [problem] = found["problems"]
    assert problem.startswith("1 rows stand that no counter knows")
    assert "offset 5" in problem
    assert "by hand" in problem


def test_a_deleted_dead_letter_is_found(rig: Rig) -> None:
    rig.rows("DELETE FROM dead_letters RETURNING 1")
    [problem] = account(rig)["problems"]
    assert problem == "1 dead letters were deleted, or `dead` was raised: offsets without row or letter: 30"


MEDDLED: list[tuple[LiteralString, str]] = [
    ("next_offset = next_offset + 4", "moved forward from 31 (then offsets 31 to 34 were not landed)"),
    ("next_offset = next_offset - 5", "5 more offsets were counted than passed: next_offset was moved back by 5 to 26"),
    ("stored = stored + 2", "`stored` was raised by 2"),
    ("stored = stored - 2", "2 rows stand that no counter knows"),
    ("duplicate = duplicate + 1", "or a counter was raised"),
    ("dead = dead + 1", "`dead` was raised"),
    ("erased = erased + 1", "rows stand that no counter knows"),
]


@pytest.mark.parametrize(("change", "told"), MEDDLED)
def test_offsets_and_counters_changed_by_hand_are_found(rig: Rig, change: LiteralString, told: str) -> None:
    rig.rows(f"UPDATE consumer_offsets SET {change} WHERE topic = %s RETURNING 1", INTERACTIONS)  # noqa: S608
    found = account(rig)
    assert not found["holds"]
    assert told in "\n".join(found["problems"])


def test_an_offset_moved_forward_is_found_after_later_events_landed_too(rig: Rig) -> None:
    rig.produce([interaction(number) for number in range(100, 110)])
    rig.rows("UPDATE consumer_offsets SET next_offset = next_offset + 4 WHERE topic = %s RETURNING 1", INTERACTIONS)
    rig.land_all()
    found = account(rig)
    assert (found["unaccounted"], found["stored"], found["lag"]) == (4, 36, 0)


def test_an_offset_moved_back_leaves_a_row_past_it(rig: Rig) -> None:
    rig.produce([interaction(number) for number in range(100, 110)])
    rig.land_all()
    rig.rows("UPDATE consumer_offsets SET next_offset = 35 WHERE topic = %s RETURNING 1", INTERACTIONS)
    assert "a row stands at offset 40, and next_offset is 35: it was moved back" in account(rig)["problems"]
    rig.land_all()
    found = account(rig)
    assert (found["unaccounted"], found["duplicate"], found["rows"]) == (-6, 6, 40)


def test_mapped_topics_are_reconciled_as_well(rig: Rig) -> None:
    message = {"user_id": 1, "video_id": 2, "rating": 4, "timestamp": "2026-01-01T00:00:00Z"}
    rig.produce_raw([json.dumps(message).encode(), json.dumps(message).encode(), b"?"], topic=VIDEO_RATED)
    rig.land_all()
    found = account(rig, VIDEO_RATED)
    assert (found["holds"], found["stored"], found["duplicate"], found["dead"]) == (True, 1, 1, 1)


def test_a_topic_made_anew_is_said_and_its_old_rows_stay_accounted_for(rig: Rig) -> None:
    recreate_topics(rig.settings, partitions=1)
    rig.produce_raw([encode_event(interaction(1))])
    found = account(rig)
    assert (found["lag"], found["rows_missing"], found["unaccounted"]) == (1, 0, 0)
    assert found["problems"] == ["the topic was made anew and is not landed until `offsets accept` says from where"]


def test_prometheus_reads_the_metrics_and_the_trend_tells_hours(rig: Rig, tmp_path: Path) -> None:
    rig.rows("DELETE FROM interactions WHERE kafka_offset = 3 RETURNING 1")
    file = tmp_path / "marquee.prom"
    options = ("--prometheus", "--prometheus-file", str(file), "--trend", "3")
    done = rig.command("reconcile", *options, check=False)
    assert done.returncode == 1
    assert file.read_text(encoding="utf-8") == done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["marquee.prom"]
    families = {family.name: family.samples for family in text_string_to_metric_families(done.stdout)}
    labels = {"topic": INTERACTIONS, "partition": "0"}
    missing = [sample.value for sample in families["marquee_reconcile_rows_missing"] if sample.labels == labels]
    assert missing == [1.0]
    assert [sample.value for sample in families["marquee_reconcile_problems"]] == [1.0]
    assert [(s.labels, s.value) for s in families["marquee_reconcile_landed_rows"]] == [({"action": "view"}, 29.0)]

    shown = json.loads(rig.command("reconcile", "--json", "--trend", "3", check=False).stdout)["trend"]
    assert len(shown["hours"]) == 3
    assert [(trend["action"], sum(trend["rows"])) for trend in shown["actions"]] == [("view", 29)]
    table = rig.command("reconcile", "--trend", "3", check=False).stdout
    assert "█" in table
