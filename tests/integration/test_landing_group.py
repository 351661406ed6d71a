"""Several landing processes in one group share partitions, take over from each other, and shut zombies out."""

import signal
from collections.abc import Iterator

import pytest
from kafka.admin import KafkaAdminClient
from pydantic import SecretStr

from features.kafka import INTERACTIONS, landed_topics
from features.kafka_sockets import connected
from features.settings import Settings
from tests.conftest import WaitUntil
from tests.support.faults import FaultRig, Process, assert_clean, fault_rig, frozen, seconds_until, wake
from tests.support.landing import interaction, recreate_topics

pytestmark = pytest.mark.integration
PARTITIONS = 6


@pytest.fixture
def rig(database_url: str, kafka_bootstrap: str) -> Iterator[FaultRig]:
    """Yield a rig over a fresh database and fresh topics of six partitions."""
    settings = Settings(database_url=SecretStr(database_url), kafka_bootstrap_servers=kafka_bootstrap)
    with fault_rig(settings, seed=4003, partitions=PARTITIONS) as rig:
        yield rig


def shared(rig: FaultRig, *landings: Process) -> bool:
    """Return whether the members of the group have all partitions among them, each at least one."""
    held = rig.members()
    return sum(held) == PARTITIONS * len(landed_topics(rig.settings)) and len([n for n in held if n]) == len(landings)


def test_two_share_the_partitions_and_the_rest_takes_over(rig: FaultRig, wait_until: WaitUntil) -> None:
    slotted = rig.start_landing("--slot", "one")
    free = rig.start_landing()
    wait_until(lambda: shared(rig, slotted, free), timeout=60, what="two processes share the partitions")

    rig.send(1_000)
    ends = rig.ends()
    wait_until(lambda: rig.landed(ends), timeout=60, what="both landed their parts")

    free.send_signal(signal.SIGTERM)
    assert free.wait(timeout=240) == 0
    rig.send(1_000)
    ends = rig.ends()
    seconds_until(lambda: rig.landed(ends), wait_until, 30, "the other took over from one that left")

    other = rig.start_landing("--slot", "two")
    wait_until(lambda: shared(rig, slotted, other), timeout=60, what="a second process joined")
    slotted.kill()
    rig.send(1_000)
    ends = rig.ends()
    seconds_until(lambda: rig.landed(ends), wait_until, 40, "the other took over from one that was killed")
    assert_clean(rig)


def test_of_two_with_one_slot_the_first_is_told_and_ends(rig: FaultRig, wait_until: WaitUntil) -> None:
    first = rig.start_landing("--slot", "same")
    rig.send(300)
    ends = rig.ends()
    wait_until(lambda: rig.landed(ends), timeout=60, what="the first landed")

    second = rig.start_landing("--slot", "same")
    wait_until(lambda: first.poll() is not None, timeout=60, what="the first ended")

    assert first.returncode == 2
    assert "took over this one's --slot" in rig.log(first)
    rig.send(300)
    ends = rig.ends()
    wait_until(lambda: rig.landed(ends), timeout=60, what="the second landed")
    assert second.poll() is None
    assert_clean(rig)


def test_frozen_ones_neither_hold_up_the_others_nor_commit_when_they_wake(rig: FaultRig, wait_until: WaitUntil) -> None:
    places = ("after_fence", "after_write", "after_offsets")
    zombies = [rig.start_landing("--slot", place, failpoints=f"{place}=stop") for place in places]
    healthy = rig.start_landing("--slot", "healthy")
    wait_until(lambda: shared(rig, healthy, *zombies), timeout=60, what="four processes share the partitions")

    rig.send(2_000)
    wait_until(lambda: all(map(frozen, zombies)), timeout=30, what="three froze in their transactions")
    ends = rig.ends()
    seconds_until(lambda: rig.landed(ends), wait_until, 60, "the healthy one landed everything")

    before = rig.counters()
    for zombie in zombies:
        wake(zombie)
    rig.send(500)
    ends = rig.ends()
    wait_until(lambda: rig.landed(ends), timeout=60, what="landing went on with those that woke")
    assert sum(rig.counters().values()) == sum(before.values()) + 500
    assert [zombie.poll() for zombie in zombies] == [None] * len(zombies)
    assert_clean(rig)


@pytest.mark.parametrize("partitions", [PARTITIONS - 3, PARTITIONS + 2])
def test_a_slot_that_comes_back_reads_topics_that_were_made_anew(rig: FaultRig, partitions: int) -> None:
    rig.land_all("one")  # the group keeps its partitions for six seconds
    recreate_topics(rig.settings, partitions)
    rig.rows("TRUNCATE consumer_offsets", fetch=False)  # as in a database that was made anew with them
    rig.produce(interaction(number) for number in range(200))

    rig.land_all("one")

    assert rig.counters() == {"stored": 200, "duplicate": 0, "dead": 0, "skipped": 0}


def add_partitions(rig: FaultRig) -> None:
    """Add two partitions to the topic of interactions."""
    admin = connected(KafkaAdminClient, rig.settings.kafka_bootstrap_servers)
    try:
        admin.create_partitions({INTERACTIONS: PARTITIONS + 2})
    finally:
        admin.close()


def test_a_slot_that_comes_back_reads_partitions_that_were_added(rig: FaultRig, wait_until: WaitUntil) -> None:
    rig.land_all("one")
    slotted = rig.start_landing("--slot", "one")
    wait_until(lambda: shared(rig, slotted), timeout=60, what="the slot came back to its partitions")

    add_partitions(rig)
    rig.produce(interaction(number) for number in range(200))
    ends = rig.ends()

    wait_until(lambda: rig.landed(ends), timeout=60, what="all partitions were landed")
    assert len(ends) == PARTITIONS * len(landed_topics(rig.settings)) + 2
    assert rig.counters()["stored"] == 200
