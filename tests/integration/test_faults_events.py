"""Events and topics that are the fault: of five megabytes, refused by the database, gone with their topic."""

import json
import os
from collections.abc import Iterator

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from pydantic import SecretStr

from features.contracts.events import encode_event
from features.kafka import INTERACTIONS, USERS, dead_letter_topic
from features.kafka_admin import Admin
from features.kafka_sockets import connected
from features.settings import Settings
from tests.conftest import WaitUntil
from tests.support.faults import FaultRig, assert_clean, fault_rig
from tests.support.landing import interaction
from tests.support.stream import Sent

pytestmark = pytest.mark.integration
FIVE_MEGABYTES = 5 * 2**20


@pytest.fixture
def rig(database_url: str, kafka_bootstrap: str) -> Iterator[FaultRig]:
    """Yield a rig over a fresh database and fresh topics of one partition: what is stopped stops all of it."""
    settings = Settings(database_url=SecretStr(database_url), kafka_bootstrap_servers=kafka_bootstrap)
    with fault_rig(settings, seed=4008, partitions=1) as rig:
        yield rig


def allow(rig: FaultRig, topic: str, size: int) -> None:
    """Let a topic take messages of a size."""
    admin = connected(KafkaAdminClient, rig.settings.kafka_bootstrap_servers)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(size)})])
    admin.close()


def test_an_event_of_five_megabytes_is_buried_whole_and_its_partition_goes_on(rig: FaultRig) -> None:
    huge = json.dumps({"event_id": "huge", "type": "interaction", "text": os.urandom(FIVE_MEGABYTES // 2).hex()})
    sent = Sent(INTERACTIONS, b"huge", huge.encode(), None)
    allow(rig, INTERACTIONS, 2 * FIVE_MEGABYTES)
    rig.send(300)
    rig.history.intend([sent])
    producer = connected(
        KafkaProducer, rig.settings.kafka_bootstrap_servers, max_request_size=2 * FIVE_MEGABYTES, acks="all"
    )
    producer.send(sent.topic, sent.value, sent.key).get(timeout=120)
    producer.close()
    rig.history.acknowledge([sent])
    rig.send(300)

    rig.land_all()

    assert_clean(rig)
    [(raw,)] = rig.rows("SELECT raw FROM dead_letters WHERE reason = 'too_large'")
    assert bytes(raw) == sent.value
    published = [letter for letter in rig.messages(dead_letter_topic(INTERACTIONS)) if len(letter.value) > 2**20]
    assert [sent.value.startswith(letter.value) for letter in published] == [True]


def test_of_a_batch_of_thousands_only_the_row_that_the_database_refuses_goes(rig: FaultRig) -> None:
    rig.rows("ALTER TABLE interactions ADD CHECK (user_id <> 'nobody wants me')", fetch=False)
    rig.send(2_500)
    refused = encode_event(interaction(1_000, user_id="nobody wants me"))
    rig.deliver([Sent(INTERACTIONS, b"refused", refused, None)])
    rig.send(2_500)

    rig.land_all()

    verdict = assert_clean(rig)
    assert rig.rows("SELECT raw FROM dead_letters WHERE reason = 'refused_by_database'") == [(refused,)]
    assert sum(verdict.counters.values()) == 5_001


def test_a_topic_deleted_and_made_anew_while_landing_runs_stops_alone_until_it_is_accepted(
    rig: FaultRig, wait_until: WaitUntil
) -> None:
    landing = rig.start_landing("--slot", "one")
    rig.send(500)
    ends = rig.ends()
    wait_until(lambda: rig.landed(ends), timeout=60, what="everything landed before")

    rig.delete(USERS)
    rig.deliver([sent for sent in rig.stream.take(300) if sent.topic != USERS])
    others = rig.ends()
    wait_until(lambda: rig.landed(others), timeout=60, what="the other topics went on without it")
    with Admin(rig.settings) as admin:
        admin.create_topics([USERS], partitions=1)
    rig.send(500)
    others = {at: end for at, end in rig.ends().items() if at[0] != USERS}
    wait_until(lambda: rig.landed(others), timeout=60, what="the other topics went on")
    stopped = wait_until(
        lambda: rig.logged(landing, "partition stopped, the others go on"), timeout=60, what="the partition stopped"
    )
    assert {line["topic"] for line in stopped} == {USERS}
    wait_until(
        lambda: "made anew" in str(rig.logged(landing, "partition stopped, the others go on")[-1]["reason"]),
        timeout=60,
        what="the partition says why it is stopped",
    )
    assert "offsets accept catalog_users" in str(stopped[-1]["way_out"])
    counted = rig.rows("SELECT count(*) FROM user_versions")
    rig.command("offsets", "accept", USERS)
    ends = {at: end for at, end in rig.ends().items() if at[0] == USERS}
    wait_until(lambda: rig.landed_anew(USERS, ends), timeout=60, what="the topic was landed from its new beginning")
    assert landing.poll() is None
    assert rig.rows("SELECT count(*) FROM user_versions") > counted
    assert_clean(rig)
