"""Kafka and Postgres stopped, killed, frozen, full, and out of connections, while landing works: nothing is lost."""

import gc
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import WaitUntil
from tests.support.faults import FaultRig, Process, assert_clean, fault_rig, seconds_until
from tests.support.services import Services, own_services

pytestmark = pytest.mark.integration
STOPPED_S = 20.0
FROZEN_S = 6.0
DELIVERY_S = 8.0
"""Longer than producers try to deliver: what they held has expired when Kafka is back."""
GOES_ON_WITHIN_S = 90.0


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """Yield services of this module's own."""
    with own_services() as services:
        yield services


@pytest.fixture(scope="module")
def rig(services: Services) -> Iterator[FaultRig]:
    """Yield a rig with one stream for all tests of the module."""
    settings, _ = services.new_settings()
    with fault_rig(settings, seed=4006) as rig:
        yield rig
        assert_clean(rig)


@pytest.fixture(scope="module")
def landing(rig: FaultRig, wait_until: WaitUntil) -> Process:
    """Return one landing process, which lives through all tests of the module."""
    landing = rig.start_landing("--slot", "tormented", "--batch-size", "500")
    rig.send(200)
    ends = rig.ends()
    wait_until(lambda: rig.landed(ends), timeout=60, what="landing works before anything fails")
    return landing


@pytest.fixture
def goes_on(rig: FaultRig, landing: Process, wait_until: WaitUntil) -> Callable[[str], None]:
    """Return a function that holds that the landing process catches up by itself, and that nothing is wrong then."""

    def hold(after: str) -> None:
        ends = rig.ends()
        seconds_until(lambda: rig.landed(ends), wait_until, GOES_ON_WITHIN_S, f"landing goes on after {after}")
        assert landing.poll() is None, rig.log(landing)
        assert_clean(rig, by_command=False)

    return hold


def pause(seconds: float) -> None:
    """Let a fault last."""
    threading.Event().wait(seconds)


def test_postgres_stopped_for_twenty_seconds(
    services: Services, rig: FaultRig, landing: object, goes_on: Callable[[str], None]
) -> None:
    del landing
    rig.send(1_000)
    services.stop("postgres")
    rig.send(1_000)
    pause(STOPPED_S)
    services.start("postgres")

    goes_on("20 s without Postgres")


def test_postgres_frozen(services: Services, rig: FaultRig, landing: object, goes_on: Callable[[str], None]) -> None:
    del landing
    rig.send(1_000)
    with services.frozen("postgres"):
        rig.send(1_000)
        pause(FROZEN_S)

    goes_on("a frozen Postgres")


def test_postgres_killed(services: Services, rig: FaultRig, landing: object, goes_on: Callable[[str], None]) -> None:
    del landing
    rig.send(1_000)
    services.kill("postgres")
    rig.send(1_000)
    services.start("postgres")

    goes_on("the postmaster was killed")


def test_postgres_out_of_connections(
    services: Services, rig: FaultRig, landing: object, goes_on: Callable[[str], None]
) -> None:
    del landing
    with services.crowded(rig.settings):
        rig.send(500)
        pause(2)

    goes_on("no connection was left")


def test_the_role_has_no_connection_left(
    services: Services, rig: FaultRig, landing: object, goes_on: Callable[[str], None]
) -> None:
    del landing
    with services.without_connections():
        rig.send(500)
        pause(2)

    goes_on("the role had no connection left")


@pytest.fixture
def refused_sockets() -> Iterator[None]:
    """Collect what kafka-python leaves behind in this process: sockets of connections that were refused."""
    yield
    gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_kafka_killed_while_events_come(
    services: Services, rig: FaultRig, landing: object, goes_on: Callable[[str], None], refused_sockets: None
) -> None:
    del landing, refused_sockets
    rig.send(1_000)
    sending = threading.Thread(target=rig.send, args=(5_000,))
    sending.start()
    services.kill("kafka")
    pause(DELIVERY_S)
    services.start("kafka")
    sending.join()
    rig.send(200)

    goes_on("Kafka was killed")


def test_files_that_may_not_grow(
    services: Services, rig: FaultRig, landing: object, goes_on: Callable[[str], None]
) -> None:
    del landing
    rig.send(500)
    with services.small_files():
        rig.send(2_000)
        pause(2)

    goes_on("files could not grow")


def test_a_full_disk(services: Services, rig: FaultRig, landing: object, goes_on: Callable[[str], None]) -> None:
    del landing
    rig.send(500)
    with services.full_disk():
        rig.send(8_000)
        pause(3)
    if not services.runs("postgres"):
        services.start("postgres")

    goes_on("the disk was full")
