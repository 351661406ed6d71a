"""Landing killed by itself at every step of its protocol: who follows goes on, and nothing is lost or doubled."""

import signal
from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from features.failpoints import LANDING
from features.settings import Settings
from tests.conftest import WaitUntil
from tests.support.faults import FaultRig, assert_clean, fault_rig

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def rig(new_database: Callable[[], str], kafka_bootstrap: str) -> Iterator[FaultRig]:
    """Yield a rig whose stream all tests of this module share: each must leave it landed and clean."""
    settings = Settings(database_url=SecretStr(new_database()), kafka_bootstrap_servers=kafka_bootstrap)
    with fault_rig(settings, seed=4001) as rig:
        yield rig
        assert_clean(rig)


@pytest.mark.parametrize("name", LANDING)
def test_who_follows_a_landing_killed_at_this_step_completes_it(
    rig: FaultRig, wait_until: WaitUntil, name: str
) -> None:
    rig.send(1_500)

    process = rig.start_landing("--slot", "test", "--batch-size", "400", failpoints=f"{name}=kill@2")
    wait_until(lambda: process.poll() is not None, timeout=60, what=f"landing killed itself at {name}")
    assert process.returncode == -signal.SIGKILL, rig.log(process)
    rig.send(200)
    rig.land_all("test")

    verdict = assert_clean(rig, by_command=False)
    assert verdict.counters["duplicate"] > 0
    assert verdict.counters["dead"] > 0


def test_a_commit_whose_answer_is_lost_is_not_landed_again(rig: FaultRig, wait_until: WaitUntil) -> None:
    rig.send(1_500)

    process = rig.start_landing("--slot", "test", "--batch-size", "400", failpoints="after_commit=unavailable@2")
    ends = rig.ends()
    wait_until(lambda: rig.landed(ends), timeout=60, what="everything landed")

    wait_until(lambda: rig.logged(process, "another process landed this"), timeout=60, what="the fence met")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=240) == 0
    assert_clean(rig, by_command=False)
