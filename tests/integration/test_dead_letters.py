"""Dead letters by the command: mended, put aside and sent again, with real Kafka and Postgres."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient
from pydantic import SecretStr

from features.contracts.events import encode_event
from features.kafka import IMPRESSIONS, INTERACTIONS, dead_letter_topic
from features.kafka_sockets import connected
from features.settings import Settings
from tests.support.landing import Rig, interaction, recreate_topics

pytestmark = pytest.mark.integration


@pytest.fixture
def rig(database_url: str, kafka_bootstrap: str) -> Iterator[Rig]:
    """Yield a rig over a fresh database and fresh topics."""
    settings = Settings(database_url=SecretStr(database_url), kafka_bootstrap_servers=kafka_bootstrap)
    recreate_topics(settings, partitions=1)
    rig = Rig(settings)
    yield rig
    rig.end()


def without(number: int, *names: str) -> bytes:
    """Return an interaction's bytes without some of its members."""
    fields = json.loads(encode_event(interaction(number)))
    return json.dumps({name: value for name, value in fields.items() if name not in names}).encode()


def letters(rig: Rig, *options: str) -> dict[int, str]:
    """Return dead letter -> state, as the list tells."""
    listed = json.loads(rig.command("dead-letters", "list", "--json", *options).stdout)
    return {letter["dead_letter_id"]: letter["state"] for letter in reversed(listed)}


def test_a_mended_letter_lands_once_under_its_own_id(rig: Rig, tmp_path: Path) -> None:
    cut_off = encode_event(interaction(2))[:-30]
    rig.produce_raw([without(1, "user_id"), cut_off, without(3, "action")])
    rig.land_all()
    first, second, third = letters(rig)

    rig.command("dead-letters", "fix", str(first), "--set", 'user_id="u1"')
    whole = interaction(2, event_id=interaction(2).event_id)
    (path := tmp_path / "event.json").write_bytes(encode_event(whole))
    rig.command("dead-letters", "fix", str(second), "--raw", str(path))
    assert letters(rig) == {first: "fixed", second: "fixed", third: "open"}
    dry = rig.command("dead-letters", "replay", "--dry-run")
    assert "2 dead letters would be replayed" in dry.stdout
    assert "action: missing" in dry.stderr

    sent = rig.command("dead-letters", "replay", check=False)
    assert (sent.returncode, "2 dead letters replayed" in sent.stdout) == (1, True)
    rig.land_all()

    assert letters(rig) == {first: "replayed", second: "replayed", third: "open"}
    found = {row[0] for row in rig.rows("SELECT event_id FROM interactions")}
    assert found == {interaction(1).event_id, interaction(2).event_id}
    assert rig.counters() == {"stored": 2, "duplicate": 0, "dead": 3, "skipped": 0}
    [(raw,)] = rig.rows("SELECT raw FROM dead_letters WHERE dead_letter_id = %s", first)
    assert raw == without(1, "user_id")  # what came is kept beside what was sent
    keys = {message.key for message in rig.messages(INTERACTIONS)[3:]}
    assert keys == {b"u1", b"u2"}
    assert audit(rig) == [
        ("fix", f"dead letter {first}", {}),
        ("fix", f"dead letter {second}", {}),
        ("replay", "dead letters", {"count": 2, "force": False}),
    ]


def audit(rig: Rig) -> list[tuple[object, ...]]:
    """Return what was done, to what, and what came of it, as the audit holds it."""
    return rig.rows("SELECT action, target, details FROM audit_events ORDER BY audit_event_id")


def test_a_fix_that_landing_would_refuse_is_refused_with_every_problem(rig: Rig) -> None:
    rig.produce_raw([without(1, "user_id", "action")])
    rig.land_all()
    [letter] = letters(rig)

    half = rig.command("dead-letters", "fix", str(letter), "--set", 'user_id=""', check=False)
    other = rig.command(
        *("dead-letters", "fix", str(letter), "--set", 'user_id="u"', "--set", 'action="view"'),
        *("--set", 'event_id="another"'),
        check=False,
    )
    unquoted = rig.command("dead-letters", "fix", str(letter), "--set", "user_id=u1", check=False)

    assert (half.returncode, other.returncode, unquoted.returncode) == (2, 2, 2)
    assert "user_id" in half.stderr
    assert "action: missing" in half.stderr
    assert interaction(1).event_id in other.stderr
    assert "double quotes" in unquoted.stderr
    assert letters(rig) == {letter: "open"}


def test_discarded_letters_are_kept_and_counted_but_never_sent(rig: Rig) -> None:
    rig.produce_raw([without(1, "user_id"), b"{", b"[1]"])
    rig.land_all()
    first, second, third = letters(rig)

    assert rig.command("dead-letters", "discard", check=False).returncode == 2
    assert "1 dead letters would" in rig.command("dead-letters", "discard", "--dry-run", str(second)).stdout
    assert "1 dead letters discarded" in rig.command("dead-letters", "discard", "--reason", "not_json").stdout
    rig.command("dead-letters", "replay", "--force")
    fixed = rig.command("dead-letters", "fix", str(second), "--set", "a=1", check=False)
    assert "is discarded" in fixed.stderr
    assert letters(rig) == {first: "replayed", second: "discarded", third: "replayed"}
    assert letters(rig, "--open") == {}
    assert "2 replayed, 1 discarded" in rig.command("dead-letters", "list").stdout
    assert audit(rig) == [
        ("discard", "dead letters", {"count": 1, "reason": "not_json"}),
        ("replay", "dead letters", {"count": 2, "force": True}),
    ]

    rig.land_all()
    assert rig.counters()["dead"] == 5  # what was forced is refused again
    assert rig.command("reconcile", check=False).returncode == 0


def test_a_missing_topic_of_dead_letters_is_named_and_holds_up_no_other(rig: Rig) -> None:
    admin = connected(KafkaAdminClient, rig.settings.kafka_bootstrap_servers)
    try:
        admin.delete_topics([dead_letter_topic(IMPRESSIONS)])
    finally:
        admin.close()
    rig.produce_raw([b"{"], IMPRESSIONS)
    rig.produce_raw([b"{"] * 3)

    landed = rig.command("land", "--until-caught-up")

    assert dead_letter_topic(IMPRESSIONS) in landed.stderr
    assert "`python -m features topics` creates it" in landed.stderr
    assert len(rig.messages(dead_letter_topic(INTERACTIONS))) == 3
    assert rig.rows("SELECT DISTINCT topic FROM dead_letters WHERE published_at IS NULL") == [(IMPRESSIONS,)]

    rig.command("topics")
    rig.land_all()

    assert len(rig.messages(dead_letter_topic(IMPRESSIONS))) == 1
    assert len(rig.messages(dead_letter_topic(INTERACTIONS))) == 3
