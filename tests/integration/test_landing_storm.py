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


def grown(rig: FaultRig, before: int) -> int | None:
    """Return how many messages were accounted for, once these are more than before."""
    now = sum(rig.counters().values())
    return now if now > before else None


def test_thirty_kills_lose_nothing_and_double_nothing(rig: FaultRig, wait_until: WaitUntil) -> None:
    chance = random.Random(SEED)  # noqa: S311  # the same storm each time
    moment = threading.Event()
    rig.send(20_000)
    landings = {slot: rig.start_landing("--slot", slot, "--batch-size", "100") for slot in SLOTS}
    kills, rounds, landed = 0, 0, 0
    while kills < KILLS:
        rig.send(300)
        moment.wait(chance.uniform(0.3, 3))
        rounds += 1
        if rounds % 3 == 0:  # else a slow machine would start landings all the time, and land nothing between kills
            landed = wait_until(lambda before=landed: grown(rig, before), 60, "something landed between kills")
        for slot in chance.sample(SLOTS, chance.randint(1, len(SLOTS))):
            landings[slot].kill()
            landings[slot].wait()
            landings[slot] = rig.start_landing("--slot", slot, "--batch-size", "100")
            kills += 1
    ends = rig.ends()

    seconds_until(lambda: rig.landed(ends), wait_until, 200, f"everything landed after {kills} kills")

    verdict = assert_clean(rig)
    assert verdict.counters["duplicate"] > 1_000
    assert verdict.counters["dead"] > 200
