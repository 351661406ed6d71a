"""Bad links between landing and its servers: eight kinds, to Postgres and to Kafka; landing goes on by itself."""

import threading
from collections.abc import Iterator

import pytest

from tests.conftest import WaitUntil
from tests.support.faults import FaultRig, Process, assert_clean, fault_rig, seconds_until
from tests.support.proxy import TOXICS
from tests.support.services import Services, own_services

pytestmark = pytest.mark.integration
POISONED_S = 1.5
"""How long a link is bad: longer than landing takes for a batch, so that it is met in all it does."""
GOES_ON_WITHIN_S = 90.0


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """Yield services of this module's own behind proxies."""
    with own_services() as services:
        yield services


@pytest.fixture(scope="module")
def rig(services: Services) -> Iterator[FaultRig]:
    """Yield a rig that produces directly and lands by way of the proxies; one stream for all tests of the module."""
    settings, via = services.new_settings()
    with fault_rig(settings, seed=4005, via=via) as rig:
        yield rig
        assert_clean(rig)


@pytest.fixture(scope="module")
def landing(rig: FaultRig, wait_until: WaitUntil) -> Process:
    """Return one landing process, which all tests of the module torment."""
    landing = rig.start_landing("--slot", "tormented", "--batch-size", "200")
    rig.send(200)
    ends = rig.ends()
    wait_until(lambda: rig.landed(ends), timeout=60, what="landing works before anything is bad")
    return landing


@pytest.mark.parametrize("server", ["postgres", "kafka"])
@pytest.mark.parametrize("name", TOXICS)
def test_landing_goes_on_when_a_bad_link_is_good_again(  # noqa: PLR0917  # fixtures, given by name
    services: Services,
    rig: FaultRig,
    landing: Process,
    wait_until: WaitUntil,
    name: str,
    server: str,
) -> None:
    proxy = services.postgres_proxy if server == "postgres" else services.kafka_proxy
    rig.send(300)
    with proxy.poisoned(TOXICS[name]):
        rig.send(300)
        threading.Event().wait(POISONED_S)
    ends = rig.ends()

    seconds_until(lambda: rig.landed(ends), wait_until, GOES_ON_WITHIN_S, f"landing goes on after {name} of {server}")

    assert landing.poll() is None, rig.log(landing)
    assert_clean(rig, by_command=False)
