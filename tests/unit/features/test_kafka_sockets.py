"""A broker that refuses connections costs neither file descriptors nor threads."""

import gc
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import kafka
import kafka.errors
import pytest
from pydantic import SecretStr

from features.contracts.errors import UnavailableError
from features.kafka import EventProducer, open_consumer
from features.kafka_admin import Admin
from features.kafka_sockets import connected, require_broker
from features.settings import Settings
from ops.local.ports import LOOPBACK, free_port


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Keep Python from closing what nobody closed."""
    gc.disable()
    yield
    gc.enable()


def held() -> set[object]:
    """Return the open descriptors and the threads: what ends meanwhile, of a test before, is no concern of who asks."""
    found: set[object] = set(threading.enumerate())
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one by which this is read
            found.add((descriptor.name, str(descriptor.readlink())))
    return found


def test_refused_connections_leave_no_socket_open(uncollected: None) -> None:
    del uncollected
    settings = Settings(
        database_url=SecretStr("postgresql://nobody@127.0.0.1:9/none"),
        kafka_bootstrap_servers=f"{LOOPBACK}:{free_port()}",
    )
    producer = EventProducer(settings)
    before = held()

    for _ in range(3):
        with pytest.raises(UnavailableError, match="refused"):
            producer.send_bytes("topic", None, b"")
        with pytest.raises(UnavailableError, match="refused"):
            producer.ask()
        with pytest.raises(UnavailableError, match="refused"):
            Admin(settings)
        with pytest.raises(UnavailableError, match="refused"):
            open_consumer(settings)

    assert held() <= before


@pytest.fixture
def silent() -> Iterator[str]:
    """Yield the address of a server that accepts connections and says nothing, as a broker does that hangs."""
    with socket.create_server((LOOPBACK, 0), backlog=100) as server:
        yield f"{LOOPBACK}:{server.getsockname()[1]}"


@pytest.mark.parametrize("kind", [kafka.KafkaAdminClient, kafka.KafkaConsumer, kafka.KafkaProducer])
def test_brokers_that_hang_leave_neither_threads_nor_sockets(
    uncollected: None, silent: str, kind: Callable[..., object]
) -> None:
    del uncollected
    before = held()

    for _ in range(3):
        with pytest.raises(kafka.errors.KafkaTimeoutError):
            connected(kind, silent, bootstrap_timeout_ms=200)

    assert held() <= before


def test_a_broker_is_there_if_one_of_several_accepts() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        require_broker([f"{LOOPBACK}:{free_port()}", f"{LOOPBACK}:{server.getsockname()[1]}"])
