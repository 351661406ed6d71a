"""Landing killed again and again at random moments, three processes of one group: nothing lost, nothing doubled."""

import random
import threading
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from features.settings import Settings
from tests.conftest import WaitUntil
from tests.support.faults import FaultRig, assert_clean, fault_rig, seconds_until

pytestmark = pytest.mark.integration
SEED = 4004
KILLS = 30
SLOTS = ("a", "b", "c")


@pytest.fixture
def rig(database_url: str, kafka_bootstrap: str) -> Iterator[FaultRig]:
    """Yield a rig over a fresh database and fresh topics of three partitions."""
    settings = Settings(database_url=SecretStr(database_url), kafka_bootstrap_servers=kafka_bootstrap)
    with fault_rig(settings, SEED, partitions=3) as rig:
        yield rig


def test_thirty_kills_lose_nothing_and_double_nothing(rig: FaultRig, wait_until: WaitUntil) -> None:
    chance = random.Random(SEED)  # noqa: S311  # the same storm each time
    moment = threading.Event()
    rig.send(20_000)
    landings = {slot: rig.start_landing("--slot", slot, "--batch-size", "100") for slot in SLOTS}
    kills, landed = 0, []
    while kills < KILLS:
        rig.send(300)
        moment.wait(chance.uniform(0.3, 3))
        landed.append(sum(rig.counters().values()))
        for slot in chance.sample(SLOTS, chance.randint(1, len(SLOTS))):
            landings[slot].kill()
            landings[slot].wait()
            landings[slot] = rig.start_landing("--slot", slot, "--batch-size", "100")
            kills += 1
    ends = rig.ends()

    seconds_until(lambda: rig.landed(ends), wait_until, 200, f"everything landed after {kills} kills")

    verdict = assert_clean(rig)
    assert len(set(landed)) > len(landed) / 3, "the storm left landing no time to land anything"
    assert verdict.counters["duplicate"] > 1_000
    assert verdict.counters["dead"] > 200
