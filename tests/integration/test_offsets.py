"""Topics made anew and offsets past the end: landing stops there, says so, and goes on once someone decided."""

import json
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from pydantic import SecretStr

from features.contracts.events import encode_event, stamp_event
from features.kafka import INTERACTIONS
from features.kafka_sockets import connected
from features.landing.placing import HaltedError
from features.landing.run import Landing, LandingOptions
from features.settings import Settings
from tests.conftest import WaitUntil
from tests.support.landing import START, Rig, interaction, recreate_topics

pytestmark = pytest.mark.integration


@pytest.fixture
def rig(database_url: str, kafka_bootstrap: str) -> Iterator[Rig]:
    """Yield a rig over a fresh database and fresh topics of one partition."""
    settings = Settings(database_url=SecretStr(database_url), kafka_bootstrap_servers=kafka_bootstrap)
    recreate_topics(settings, partitions=1)
    rig = Rig(settings)
    yield rig
    rig.end()


def stopped(rig: Rig) -> dict[str, str]:
    done = rig.command("offsets", "show", "--json", check=False)
    found = {stand["topic"]: stand["state"] for stand in json.loads(done.stdout)}
    odd = {topic: state for topic, state in found.items() if state in {"made anew", "past the end"}}
    assert done.returncode == bool(odd)
    return odd


def test_a_topic_made_anew_is_not_read_until_it_is_accepted(rig: Rig) -> None:
    rig.produce([interaction(number) for number in range(5)])
    rig.land_all()
    recreate_topics(rig.settings, partitions=1)
    rig.produce([interaction(number) for number in range(4, 10)])

    refused = rig.command("land", "--until-caught-up", check=False)

    assert refused.returncode == 2, refused.stderr
    assert "made anew" in refused.stderr
    assert rig.counters()["stored"] == 5
    assert stopped(rig)[INTERACTIONS] == "made anew"
    for topic in stopped(rig):
        rig.command("offsets", "accept", topic)
    assert stopped(rig) == {}
    rig.land_all()
    assert rig.counters() == {"stored": 10, "duplicate": 1, "dead": 0, "skipped": 0}
    assert rig.command("reconcile", check=False).returncode == 0


def test_an_offset_past_the_end_stops_its_partition_and_reading_again_counts_below_zero(rig: Rig) -> None:
    rig.produce([interaction(number) for number in range(4)])
    rig.produce_raw([b"broken"])
    rig.land_all()
    rig.rows("UPDATE consumer_offsets SET next_offset = 9, skipped = 4 WHERE topic = %s RETURNING 1", INTERACTIONS)

    assert "past the end" in rig.command("land", "--until-caught-up", check=False).stderr
    wrong = rig.command("offsets", "accept", INTERACTIONS, "--from", "7", check=False)
    assert wrong.returncode == 2
    assert "from 0 to 5" in wrong.stderr
    rig.command("offsets", "accept", INTERACTIONS, "--from", "2")
    rig.land_all()

    assert rig.counters() == {"stored": 4, "duplicate": 3, "dead": 1, "skipped": -3}
    assert rig.command("reconcile", check=False).returncode == 0


def produce_compressed(rig: Rig, numbers: Iterable[int]) -> None:
    client = connected(
        KafkaProducer, rig.settings.kafka_bootstrap_servers, compression_type="gzip", metrics_enabled=False
    )
    try:
        for number in numbers:
            client.send(INTERACTIONS, encode_event(interaction(number)))
        client.flush()
    finally:
        client.close(timeout=10)


@contextmanager
def landing_here(rig: Rig) -> Iterator[Landing]:
    """Yield a landing that runs in this process."""
    stop = threading.Event()
    landing = Landing(rig.settings, LandingOptions(), stop)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(landing.run)
        try:
            yield landing
        finally:
            stop.set()
        done.result(timeout=30)


def test_a_batch_that_cannot_be_read_stops_its_partition_alone_until_it_can_or_is_deleted(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    rig.produce([interaction(number) for number in range(3)])
    produce_compressed(rig, range(3, 5))
    rig.produce([interaction(number) for number in range(5, 7)])
    item = {"type": "item", "item_id": "i", "title": "of another topic"}
    with monkeypatch.context() as patch:
        patch.setattr("kafka.codec.has_gzip", lambda: False)
        with pytest.raises(HaltedError, match=rf"{INTERACTIONS}\[0\]: the batch at offset 3 cannot be read: Unsupp"):
            Landing(rig.settings, LandingOptions(until_caught_up=True), threading.Event()).run()
        assert rig.counters()["stored"] == 3, "what lies before it is landed"

        with landing_here(rig) as landing:
            wait_until(lambda: landing._ahead.halted == 1, 60, "the partition is stopped")
            rig.produce([stamp_event(item, now=START, event_id="item")])
            wait_until(lambda: rig.counters()["stored"] == 4, 60, "another partition goes on")
            delete_before(rig, 5)
            wait_until(lambda: rig.counters()["stored"] == 6, 60, "the partition goes on")
    assert rig.counters() == {"stored": 6, "duplicate": 0, "dead": 0, "skipped": 2}
    assert rig.command("reconcile", check=False).returncode == 0


def delete_before(rig: Rig, offset: int) -> None:
    """Let Kafka delete interactions."""
    admin = connected(KafkaAdminClient, rig.settings.kafka_bootstrap_servers)
    try:
        admin.delete_records({TopicPartition(INTERACTIONS, 0): offset})
    finally:
        admin.close()


def test_a_partition_that_is_not_stopped_cannot_be_moved(rig: Rig) -> None:
    rig.produce([interaction(1)])
    rig.land_all()

    done = rig.command("offsets", "accept", INTERACTIONS, check=False)

    assert done.returncode == 2
    assert "no partition is stopped" in done.stderr
