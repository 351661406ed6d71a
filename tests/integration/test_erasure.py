"""Erasing a user, with real Postgres and Kafka: nothing of them stays, and the counts still hold."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from features.admin import erasure, user_letters
from features.admin.erasure import erase
from features.build.export import export
from features.build.part_files import PartFiles
from features.contracts.batch import LISTS, SUCCESS, remember_folder
from features.contracts.erasure import ErasureSecretError, user_key
from features.contracts.events import Event, encode_event, stamp_event
from features.contracts.parts import FOLDER, whole
from features.db.connection import connect
from features.kafka import IMPRESSIONS, INTERACTIONS, ITEMS, PROCESSED_FEATURES, REFRESHED, wait_all
from features.settings import Settings
from tests.support.landing import START, Rig, interaction, recreate_topics

pytestmark = pytest.mark.integration

SECRET = "of a test"  # noqa: S105
TABLES = (
    "interactions",
    "impressions",
    "feedback",
    "user_versions",
    "users",
    "user_seen",
    "dead_letters",
    "served_lists",
    "audit_events",
)


@pytest.fixture
def rig(database_url: str, kafka_bootstrap: str, tmp_path: Path) -> Iterator[Rig]:
    """Yield a rig over a fresh database, fresh topics and a work folder of its own."""
    settings = Settings(
        database_url=SecretStr(database_url),
        kafka_bootstrap_servers=kafka_bootstrap,
        erasure_secret=SecretStr(SECRET),
        work_dir=tmp_path / "work",
    )
    recreate_topics(settings, partitions=2)
    rig = Rig(settings)
    yield rig
    rig.end()


@pytest.fixture(autouse=True)
def _same_settings(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give commands the secret and the folder of the rig."""
    monkeypatch.setenv("MARQUEE_ERASURE_SECRET", SECRET)
    monkeypatch.setenv("MARQUEE_WORK_DIR", str(rig.settings.work_dir))


def stamped(event_id: str, **fields: object) -> Event:
    """Return any event of the test's day."""
    return stamp_event(fields, now=START, event_id=event_id)


def life(user_id: str) -> list[Event]:
    """Return all kinds of events of a user, feedback that does not name them among it."""
    shown = {"items": [{"item_id": "i1", "position": 1}]}
    return [
        *(interaction(number, user_id=user_id, event_id=f"{user_id}-{number}") for number in range(20)),
        stamped(
            f"{user_id}-shown", type="impression", user_id=user_id, recommendation_id=f"list of {user_id}", **shown
        ),
        stamped(f"{user_id}-said", type="user", user_id=user_id, attributes={"age": 30}),
        stamped(f"{user_id}-clicked", type="feedback", recommendation_id=f"list of {user_id}", outcome="clicked"),
        stamped(f"{user_id}-liked", type="feedback", recommendation_id="other", user_id=user_id, outcome="liked"),
    ]


def held(rig: Rig, user_id: str) -> dict[str, int]:
    """Return table -> rows that hold a user's id anywhere."""
    found = {}
    for table in TABLES:
        # Rows as text; bytes as their characters.
        [(count,)] = rig.rows(
            f"SELECT count(*)::int FROM {table} AS row WHERE row::text LIKE %s OR row::text LIKE %s",  # noqa: S608
            f"%{user_id}%",
            f"%{user_id.encode().hex()}%",
        )
        found[table] = count
    return {table: count for table, count in found.items() if count}


def erased(rig: Rig, user_id: str, *options: str) -> dict[str, object]:
    """Return the receipt of the command."""
    receipt: dict[str, object] = json.loads(rig.command("erase", user_id, "--json", *options).stdout)
    return receipt


def test_nothing_of_an_erased_user_stays_and_the_counts_hold(rig: Rig) -> None:
    rig.produce([*life("anna"), *life("annabel")])
    bad = json.loads(encode_event(interaction(1, user_id="anna")))
    rig.produce_raw(
        [
            json.dumps({**bad, "action": 7}).encode(),
            b'{"user_id": "anna", "item',
            json.dumps({**bad, "user_id": "annabel", "action": 7}).encode(),
            b'{"user_id": "annabel", "item',
        ]
    )
    rig.land_all()
    before = held(rig, "annabel")
    assert erased(rig, "anna", "--dry-run")["rows"] == erased(rig, "anna")["rows"]

    others = {table: count for table, count in held(rig, "anna").items() if before.get(table) != count}
    assert others == {}  # what is left of "anna" is "annabel"
    assert held(rig, "annabel") == before
    assert rig.command("reconcile", check=False).returncode == 0
    [(key, receipt)] = rig.rows("SELECT user_key, receipt::text FROM erasures")
    assert key == user_key(SECRET.encode(), "anna")
    assert "anna" not in receipt
    assert rig.rows("SELECT sum(erased)::int FROM consumer_offsets") == [(24,)]


def test_the_receipt_counts_what_went_and_names_what_stays_elsewhere(rig: Rig) -> None:
    folder = rig.settings.work_dir / "run-1" / "snapshot"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"user_id": ["anna", "b", "anna"]}), folder / "interactions.parquet")
    pq.write_table(pa.table({"user_id": ["b"]}), folder / "others.parquet")
    pq.write_table(pa.table({"item_id": ["anna"]}), folder / "items.parquet")
    rows = pa.table({"user_id": ["anna", "b"]})
    (folder / FOLDER).mkdir()
    with PartFiles(folder / FOLDER, rows.schema) as parts:
        parts.write(rows)
    (folder / "half.parquet").write_bytes(b"PAR1 not yet")
    rig.produce(life("anna"))
    rig.produce_raw([b'{"user_id": "anna", "item'], topic=IMPRESSIONS)
    rig.land_all()

    with connect(rig.settings, name="test") as connection:
        receipt = erase(rig.settings, connection, "anna", datetime.now(UTC))

    assert receipt.rows == {
        "interactions": 20,
        "feedback": 2,
        "impressions": 1,
        "user_versions": 1,
        "users": 1,
        "user_seen": 1,
        "served_lists": 0,
    }
    assert receipt.dead_letters == 1
    assert [(Path(file.path).name, file.rows) for file in receipt.snapshots.holding] == [("interactions.parquet", 2)]
    assert [file.rows for file in receipt.snapshots.rewritten] == [1]
    assert {user for path in whole(folder / FOLDER) for user in pd.read_parquet(path)["user_id"]} == {"b"}
    assert receipt.snapshots.files == 3
    assert "half.parquet" in receipt.snapshots.note
    topics = {topic.topic: topic for topic in receipt.topics}
    assert topics[INTERACTIONS].messages == 20
    assert topics[INTERACTIONS].retention_ms == 604_800_000
    assert topics[f"{IMPRESSIONS}_dlq"].messages == 1
    assert all(topic.gone_by and topic.gone_by > datetime.now(UTC) for topic in topics.values())
    for published in (REFRESHED, PROCESSED_FEATURES):
        assert topics[published].messages is None
        assert topics[published].gone_by == receipt.erased_at + timedelta(milliseconds=604_800_000)
    assert "out of reach" in receipt.backups


def test_a_second_erasure_keeps_the_tombstone_and_the_first_receipt(rig: Rig) -> None:
    rig.produce(life("anna"))
    rig.land_all()
    first = erased(rig, "anna")
    second = erased(rig, "anna")

    assert (first["erasures"], second["erasures"]) == (1, 2)
    assert set(second["rows"].values()) == {0}  # type: ignore[attr-defined]
    [(count, kept)] = rig.rows("SELECT count(*) OVER ()::int, receipt FROM erasures")
    assert count == 1
    assert [receipt["rows"] for receipt in kept] == [first["rows"], second["rows"]]


def test_another_secret_is_refused_and_none_too(rig: Rig) -> None:
    rig.command("erase", "anna")
    for secret, told in (("another", "not the one under which 1 users"), ("", "is empty")):
        settings = rig.settings.model_copy(update={"erasure_secret": SecretStr(secret)})
        with connect(settings, name="test") as connection, pytest.raises(ErasureSecretError, match=told):
            erase(settings, connection, "berta", datetime.now(UTC))
    assert rig.rows("SELECT count(*)::int FROM erasures") == [(1,)]


def test_under_another_secret_nothing_lands(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    file.write_text(f"user_id,item_id,occurred_at\nanna,i1,{START.isoformat()}\n", encoding="utf-8")
    rig.command("erase", "anna")
    rig.produce(life("anna"))
    other = Rig(rig.settings.model_copy(update={"erasure_secret": SecretStr("another")}))

    for command in (("land", "--until-caught-up"), ("import", "--interactions", str(file))):
        refused = other.command(*command, check=False)
        assert refused.returncode != 0
        assert "not the one under which 1 users were erased before" in refused.stderr
    assert held(rig, "anna") == {}
    rig.land_all()
    assert held(rig, "anna") in ({}, {"feedback": 1})  # what came without a user names a list that nobody knows
    assert rig.counters()["skipped"] == 23


def test_letters_are_emptied_however_their_producer_escapes(rig: Rig) -> None:
    rig.produce_raw(
        [rb'{"user_id": "a\/b+c"}', rb'{"user_id": "a/b\u002Bc"}', rb'{"user_id": "a\/b+c', rb'{"user_id": "a\/b+d"}']
    )
    rig.land_all()
    assert erased(rig, "a/b+c")["dead_letters"] == 3
    assert rig.rows("SELECT raw FROM dead_letters WHERE erased_at IS NULL") == [(rb'{"user_id": "a\/b+d"}',)]


def test_a_broker_that_is_away_is_said_and_stops_nothing(rig: Rig) -> None:
    rig.produce(life("anna"))
    rig.land_all()
    away = Rig(rig.settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:9"}))
    receipt = erased(away, "anna")
    assert str(receipt["kafka"]).startswith("not asked")
    assert receipt["rows"]["interactions"] == 20  # type: ignore[index]
    assert held(rig, "anna") == {}


def test_many_users_are_erased_by_a_list_and_rows_of_imports_are_counted_too(rig: Rig, tmp_path: Path) -> None:
    times = pa.array([START] * 2, pa.timestamp("us", tz="UTC"))
    file = tmp_path / "history.parquet"
    pq.write_table(pa.table({"user_id": ["a1", "b2"], "item_id": ["i", "i"], "occurred_at": times}), file)
    rig.command("import", "--interactions", str(file))
    (tmp_path / "users").write_text("a1\n\nb2\n", encoding="utf-8")

    told = rig.command("erase", "--from", str(tmp_path / "users")).stdout

    assert "user 'a1' erased" in told
    assert "user 'b2' erased" in told
    assert f"{PROCESSED_FEATURES}: may hold what was published of the user until" in told
    assert rig.rows("SELECT topic, erased::int FROM consumer_offsets WHERE erased > 0") == [("import", 2)]
    assert rig.command("reconcile", check=False).returncode == 0


def test_exports_that_hold_the_user_are_in_the_receipt(rig: Rig, tmp_path: Path) -> None:
    (folder := tmp_path / "export" / "day=2026-01-01").mkdir(parents=True)
    pq.write_table(pa.table({"user_id": pa.array(["anna"] * 3).dictionary_encode()}), folder / "part.parquet")
    for known in (tmp_path / "export", tmp_path / "moved away"):
        rig.rows("INSERT INTO exports VALUES (%s, now(), 3)", str(known), fetch=False)

    with connect(rig.settings, name="test") as connection:
        receipt = erase(rig.settings, connection, "anna", datetime.now(UTC), dry_run=True)

    assert [(Path(file.path).name, file.rows) for file in receipt.exports.holding] == [("part.parquet", 3)]
    assert "moved away: no such folder here" in receipt.exports.note
    assert rig.rows("SELECT count(*)::int FROM erasures") == [(0,)]


def test_exports_and_lists_that_end_during_an_erasure_are_in_the_receipt(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.produce(life("anna"))
    rig.land_all()
    out, part = tmp_path / "export", tmp_path / "out" / LISTS / "part-00000.parquet"

    def letters_of(*arguments: Any) -> list[int]:
        if not out.exists():
            export(rig.settings, out)
            part.parent.mkdir(parents=True)
            pq.write_table(pa.table({"user_id": ["anna", "b"]}), part)
            (tmp_path / "out" / SUCCESS).touch()
            remember_folder(rig.settings.work_dir, tmp_path / "out")
        return user_letters.letters_of(*arguments)

    monkeypatch.setattr(erasure, "letters_of", letters_of)
    with connect(rig.settings, name="test") as connection:
        receipt = erase(rig.settings, connection, "anna", datetime.now(UTC))

    assert sum(file.rows for file in receipt.exports.holding) == 20
    assert all(file.path.startswith(str(out)) for file in receipt.exports.holding)
    assert [(file.path, file.rows) for file in receipt.lists.rewritten] == [(str(part), 1)]
    assert pd.read_parquet(part)["user_id"].tolist() == ["b"]


def test_a_replayed_topic_does_not_bring_an_erased_user_back(rig: Rig) -> None:
    events = [*life("anna"), *life("berta")]
    rig.produce(events)
    rig.land_all()
    before = held(rig, "berta")
    erased(rig, "anna")

    # The whole topic again, as after a restore of the broker: landing is told to begin at its beginning.
    rig.rows(
        "UPDATE consumer_offsets SET next_offset = first_offset, stored = 0, duplicate = 0, dead = 0, skipped = 0, "
        "erased = 0, late = 0, ahead = 0 WHERE topic <> 'import'",
        fetch=False,
    )
    rig.rows("TRUNCATE interactions, impressions, feedback, user_versions, users, user_seen", fetch=False)
    rig.land_all()

    assert held(rig, "anna") in ({}, {"feedback": 1})  # what came without a user names a list that nobody knows
    assert held(rig, "berta") == before
    assert rig.command("reconcile", check=False).returncode == 0
    # A retry after the erasure changes nothing either.
    rig.produce(life("anna"))
    rig.land_all()
    assert "interactions" not in held(rig, "anna")
    assert rig.command("reconcile", check=False).returncode == 0


def test_letters_of_an_erased_user_are_left_out_and_those_of_an_item_of_the_same_number_kept(rig: Rig) -> None:
    erased(rig, "42")
    of_user = [b'{"user_id":"42","item_id":"7","act', b'{"user_id": 42, "item_id": 7, "action": 1}']
    of_others = [b'{"user_id":"43","item_id":"42","act']
    of_item = [b'{"item_id": "42", "title": 1}', b'{"item_id": "42", "tit']
    with rig.producer() as producer:
        deadline = time.monotonic() + 240
        sent = [producer.send_bytes(INTERACTIONS, None, raw) for raw in (*of_user, *of_others)]
        sent += [producer.send_bytes(ITEMS, b"42", raw) for raw in of_item]
        wait_all(sent, deadline)
    rig.land_all()

    assert sorted(bytes(raw) for (raw,) in rig.rows("SELECT raw FROM dead_letters")) == sorted([*of_others, *of_item])
    assert rig.counters()["skipped"] == len(of_user)
    assert rig.command("reconcile", check=False).returncode == 0
