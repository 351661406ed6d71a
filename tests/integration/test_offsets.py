"""Topics made anew and offsets past the end: landing stops there, says so, and goes on once someone decided."""

import json
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from features.kafka import INTERACTIONS
from features.settings import Settings
from tests.support.landing import Rig, interaction, recreate_topics

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


def test_a_partition_that_is_not_stopped_cannot_be_moved(rig: Rig) -> None:
    rig.produce([interaction(1)])
    rig.land_all()

    done = rig.command("offsets", "accept", INTERACTIONS, check=False)

    assert done.returncode == 2
    assert "no partition is stopped" in done.stderr
