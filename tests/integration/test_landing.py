"""From Kafka to Postgres with the real things: once whatever happens, and every message accounted for."""

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from kafka import KafkaProducer
from pydantic import SecretStr

from features.contracts.events import encode_event, stamp_event
from features.db.connection import connect
from features.kafka import BACKFILL, INTERACTIONS, TRAINING_COMPLETED, TRAINING_STARTED
from features.kafka_admin import Admin
from features.kafka_sockets import connected
from features.landing.protocol import FenceError, Lander, Span, decode
from features.landing.write import prepare
from features.settings import Settings
from tests.conftest import WaitUntil
from tests.support.landing import Rig, interaction, recreate_topics

pytestmark = pytest.mark.integration


@pytest.fixture
def rig(database_url: str, kafka_bootstrap: str) -> Iterator[Rig]:
    """Yield a rig over a fresh database and fresh topics of two partitions."""
    settings = Settings(database_url=SecretStr(database_url), kafka_bootstrap_servers=kafka_bootstrap)
    recreate_topics(settings, partitions=2)
    rig = Rig(settings)
    yield rig
    rig.end()


DEEP = "[" * 975 + "]" * 975
"""JSON that the thread which reads can decode, and the one that writes could not encode."""


def reconciled(rig: Rig) -> bool:
    done = rig.command("reconcile", "--json", check=False)
    assert done.returncode in {0, 1}, done.stderr
    assert json.loads(done.stdout)["holds"] == (done.returncode == 0)
    return done.returncode == 0


def test_events_land_with_their_place_and_duplicates_are_counted(rig: Rig) -> None:
    events = [interaction(number) for number in range(200)]
    rig.produce([*events, *events[:30]])

    rig.land_all()
    rig.produce(events[:10])
    rig.land_all()

    assert rig.counters() == {"stored": 200, "duplicate": 40, "dead": 0, "skipped": 0}
    ids = {row[0] for row in rig.rows("SELECT event_id FROM interactions")}
    assert ids == {event.event_id for event in events}
    [(places,)] = rig.rows("SELECT count(DISTINCT (topic, partition, kafka_offset)) FROM interactions")
    assert places == 200
    assert reconciled(rig)


def test_live_events_are_known_since_they_landed_and_history_since_it_happened(rig: Rig) -> None:
    rig.produce([interaction(1)])
    rig.produce([interaction(2)], headers=[BACKFILL])

    rig.land_all()

    live, history = rig.rows("SELECT known_at, landed_at, occurred_at FROM interactions ORDER BY occurred_at")
    assert live[0] == live[1]
    assert history[0] == history[2]


def test_users_know_what_they_have_seen_and_only_once(rig: Rig) -> None:
    fields = {"user_id": "u", "action": "view"}
    rig.produce([interaction(number, **fields, item_id=f"i{number % 3}") for number in range(9)])
    rig.land_all()
    rig.produce([interaction(100, **fields, item_id="i9"), interaction(101, **fields, item_id="i1")])
    rig.produce([interaction(102, user_id="u", action="search", item_id=None)])
    rig.land_all()

    [(seen,)] = rig.rows("SELECT item_ids FROM user_seen WHERE user_id = 'u'")
    assert sorted(seen) == ["i0", "i1", "i2", "i9"]


def test_the_latest_version_of_an_item_holds_in_whatever_order_they_come(rig: Rig) -> None:
    def version(number: int, title: str) -> None:
        at = datetime(2026, 1, number, tzinfo=UTC)
        rig.produce([stamp_event({"type": "item", "item_id": 5, "title": title}, now=at, event_id=f"v{number}")])
        rig.land_all()

    version(2, "second")
    version(1, "first")
    assert rig.rows("SELECT title FROM items") == [("second",)]
    version(3, "third")

    assert rig.rows("SELECT title FROM items") == [("third",)]
    assert rig.rows("SELECT count(*) FROM item_versions") == [(3,)]
    assert reconciled(rig)


def test_every_kind_of_event_lands_in_its_table(rig: Rig) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    rig.produce(
        [
            stamp_event(
                {
                    "type": "impression",
                    "user_id": "u",
                    "recommendation_id": "r",
                    "items": [
                        {"item_id": 3, "position": 1, "source": "als", "score": 0.5},
                        {"item_id": "b", "position": 2},
                    ],
                },
                now=now,
                event_id="a",
            ),
            stamp_event({"type": "user", "user_id": "u", "attributes": {"age": 3}}, now=now, event_id="a"),
            stamp_event(
                {"type": "feedback", "recommendation_id": "r", "item_id": 3, "outcome": "clicked"},
                now=now,
                event_id="a",
            ),
        ]
    )

    rig.land_all()

    assert rig.rows("SELECT item_ids, positions, sources, scores FROM impressions") == [
        (["3", "b"], [1, 2], ["als", None], [0.5, None])
    ]
    assert rig.rows("SELECT attributes FROM users") == [({"age": 3},)]
    assert rig.rows("SELECT item_id, outcome FROM feedback") == [("3", "clicked")]
    assert rig.counters()["stored"] == 3


def test_late_events_and_clocks_that_run_ahead_are_counted_and_land_where_they_belong(rig: Rig) -> None:
    now = datetime.now(UTC)
    times = {"now": now, "late": now - timedelta(hours=3), "ahead": now + timedelta(hours=1)}
    rig.produce([interaction(n, item_id=name, occurred_at=at) for n, (name, at) in enumerate(times.items())])
    rig.produce([interaction(9, item_id="history")], headers=[BACKFILL])

    rig.land_all()

    assert rig.rows("SELECT sum(late)::int, sum(ahead)::int FROM consumer_offsets") == [(1, 1)]
    landed = dict(rig.rows("SELECT item_id, occurred_at FROM interactions WHERE item_id <> 'history'"))
    assert {name: abs(landed[name] - at) < timedelta(milliseconds=1) for name, at in times.items()} == dict.fromkeys(
        times, True
    )


def test_other_services_messages_count_once_although_they_have_no_id(rig: Rig) -> None:
    at = "2026-01-01T12:00:00Z"
    watched = {"user_id": 1, "video_id": 5, "watched_duration": 30, "total_duration": 120, "timestamp": at}
    rated = {"user_id": 1, "video_id": 5, "rating": 4, "timestamp": at}
    added = {"user_id": 1, "video_id": 6, "action": "added", "timestamp": at}
    removed = {**added, "action": "removed", "timestamp": "2026-01-01T13:00:00Z"}
    watches = [json.dumps({**watched, "device": "tv"}).encode()] * 2
    # As a schema registry's serializer writes it: a zero byte and the schema's number before the JSON.
    rig.produce_raw([*watches, b"{", b"\0\0\0\0\7" + watches[0]], topic="analytics-service.video-watched")
    rig.produce_raw([json.dumps(rated).encode()], topic="profile-service.video-rated")
    for message in (added, removed):
        rig.produce_raw([json.dumps(message).encode()], topic="profile-service.watchlist-updated")

    rig.land_all()

    assert sorted(rig.rows("SELECT item_id, action, value FROM interactions")) == [
        ("5", "rating", 4.0),
        ("5", "watch", 0.25),
        ("6", "favorite", -1.0),
        ("6", "favorite", 1.0),
    ]
    assert rig.counters() == {"stored": 4, "duplicate": 2, "dead": 1, "skipped": 0}
    assert len(rig.messages("analytics-service.video-watched_dlq")) == 1
    assert reconciled(rig)


def test_bad_events_go_to_table_and_topic_and_the_good_ones_land(rig: Rig) -> None:
    good = [interaction(number) for number in range(20)]
    far = datetime.now(UTC) + timedelta(days=2)
    template = json.loads(encode_event(interaction(1000)))
    bad = {
        "not_json": b"{",
        "not_object": b"[1]",
        "unknown_type": json.dumps({**template, "type": "order"}).encode(),
        "wrong_version": json.dumps({**template, "schema_version": 2}).encode(),
        "invalid_field": json.dumps({**template, "user_id": "a\0b"}).encode(),
        "far_future": json.dumps({**template, "occurred_at": far.isoformat()}).encode(),
        "far_past": json.dumps({**template, "occurred_at": "1969-12-31T23:00:00Z"}).encode(),
        "too_large": json.dumps({**template, "context": {"text": "x" * 300_000}}).encode(),
        "refused_by_database": encode_event(interaction(1000, user_id="nobody wants me")),
    }
    rig.rows("ALTER TABLE interactions ADD CHECK (user_id <> 'nobody wants me')", fetch=False)
    rig.produce(good[:10])
    rig.produce_raw(bad.values())
    rig.produce(good[10:])

    rig.land_all()

    assert rig.counters() == {"stored": 20, "duplicate": 0, "dead": len(bad), "skipped": 0}
    assert dict(rig.rows("SELECT reason, raw FROM dead_letters")) == bad
    letters = rig.messages(f"{INTERACTIONS}_dlq")
    assert {dict(letter.headers)["reason"].decode(): letter.value for letter in letters} == bad
    assert {letter.key.decode().split(":")[0] for letter in letters} == {INTERACTIONS}
    assert reconciled(rig)


def test_what_is_nested_too_deep_to_be_written_is_a_dead_letter_and_what_follows_lands(rig: Rig) -> None:
    template = json.loads(encode_event(interaction(1000)))
    deep = json.dumps({**template, "context": {"a": "deep"}}).replace('"deep"', DEEP).encode()
    rig.produce_raw([deep])
    rig.produce([interaction(1)])

    rig.land_all()

    assert rig.counters() == {"stored": 1, "duplicate": 0, "dead": 1, "skipped": 0}
    assert rig.rows("SELECT reason, raw FROM dead_letters") == [("invalid_field", deep)]
    assert reconciled(rig)


def test_a_dead_letter_that_was_mended_lands_once_however_often_it_is_replayed(rig: Rig) -> None:
    rig.produce_raw([b"{broken", encode_event(interaction(5))])
    rig.land_all()
    rig.rows("UPDATE dead_letters SET raw = %s RETURNING 1", encode_event(interaction(6)))

    assert "1 dead letters would" in rig.command("dead-letters", "replay", "--dry-run").stdout
    rig.command("dead-letters", "replay")
    rig.rows("UPDATE dead_letters SET replayed_at = NULL RETURNING 1")
    rig.command("dead-letters", "replay", "--reason", "not_json")
    rig.land_all()

    assert rig.counters() == {"stored": 2, "duplicate": 1, "dead": 1, "skipped": 0}
    [letter] = json.loads(rig.command("dead-letters", "list", "--json").stdout)
    assert letter["replayed_at"] is not None
    shown = json.loads(rig.command("dead-letters", "show", str(letter["dead_letter_id"])).stdout)
    assert shown["key"] == "key"


def test_of_a_transaction_lands_what_was_committed_and_its_markers_are_nothing_to_wait_for(rig: Rig) -> None:
    producer = connected(
        KafkaProducer, rig.settings.kafka_bootstrap_servers, transactional_id="shop", metrics_enabled=False
    )
    try:
        producer.init_transactions()
        for first, end in ((0, producer.commit_transaction), (3, producer.abort_transaction)) * 2:
            producer.begin_transaction()
            for number in range(first, first + 3):
                producer.send(INTERACTIONS, key=b"u", value=encode_event(interaction(number)))
            producer.flush()
            end()
    finally:
        producer.close(timeout=10)

    rig.land_all()

    assert {row[0] for row in rig.rows("SELECT event_id FROM interactions")} == {
        interaction(number).event_id for number in range(3)
    }
    # Between them lie the first transactions' markers, and what was aborted; what ends the log was read by nobody yet.
    assert rig.counters() == {"stored": 3, "duplicate": 3, "dead": 0, "skipped": 5}
    assert reconciled(rig)
    rig.produce([interaction(number, user_id="u") for number in range(7, 9)])
    rig.land_all()
    assert rig.counters() == {"stored": 5, "duplicate": 3, "dead": 0, "skipped": 10}
    assert reconciled(rig)


def test_sigterm_ends_the_batch_and_leaves(rig: Rig, wait_until: WaitUntil) -> None:
    rig.produce([interaction(number) for number in range(500)])
    process = rig.start_landing()
    wait_until(lambda: rig.counters()["stored"] == 500, timeout=40, what="500 events landed")

    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=240) == 0
    assert reconciled(rig)


def test_who_lost_its_partition_cannot_write_or_move_offsets(rig: Rig) -> None:
    rig.produce([interaction(number, user_id="u") for number in range(10)])
    records = rig.messages(INTERACTIONS)
    with Admin(rig.settings) as admin:
        identity = admin.identify()
    topic_id = identity.topic_ids[INTERACTIONS]
    span = Span(INTERACTIONS, topic_id, records[0].partition, 0, records)
    shorter = Span(INTERACTIONS, topic_id, records[0].partition, 0, records[:5])
    rig.land_all()
    before = rig.counters()

    with connect(rig.settings, name="zombie") as connection:
        prepare(connection)
        for late in (span, shorter):
            with pytest.raises(FenceError, match="another one landed it"):
                Lander(b"").land(connection, identity.cluster_id, decode([late], datetime.now(UTC), {}))

    assert rig.counters() == before
    assert before["stored"] == 10
    assert reconciled(rig)


def test_trainings_are_announced(rig: Rig) -> None:
    rig.command("announce", "started", "--run", "r1", "--parameters", '{"factors": 64}')
    rig.command(
        *("announce", "completed", "--run", "r1", "--status", "refused"),
        *("--metrics", '{"ndcg": 0.1}', "--artifact-path", "models:/marquee/3"),
    )
    wrong = rig.command("announce", "started", "--run", "r1", "--parameters", "[1]", check=False)

    # Other tests of the same broker may have announced trainings, too.
    messages = [
        json.loads(message.value) for topic in (TRAINING_STARTED, TRAINING_COMPLETED) for message in rig.messages(topic)
    ]
    started, completed = (message for message in messages if message["training_id"] == "r1")
    assert started.keys() == {"model_id", "model_type", "training_id", "start_time", "parameters"}
    assert (started["training_id"], started["parameters"]) == ("r1", {"factors": 64})
    assert completed.keys() == {"model_id", "training_id", "status", "metrics", "artifact_path", "completion_time"}
    assert (completed["status"], completed["artifact_path"]) == ("refused", "models:/marquee/3")
    assert (wrong.returncode, "expected a JSON object" in wrong.stderr) == (2, True)
