"""How to see that a service is ready: by its own protocol, never by waiting a while."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import kafka
import kafka.errors
import psycopg

from features.contracts.errors import UnavailableError
from features.kafka_sockets import connected
from ops.local.errors import NotReadyError, StackError
from ops.local.ports import LOOPBACK

PROBE_TIMEOUT_S = 3
PAUSE_S = 0.2
FIRST_TIMEOUT_S = 90
"""Airflow makes the routes by which tasks report when they are first asked for: five seconds of a processor."""


def get(port: int, path: str, timeout_s: float = PROBE_TIMEOUT_S) -> tuple[int, bytes]:
    """Return status and body of ``GET path`` on loopback.

    Raises
    ------
    NotReadyError
        Where nothing answers.
    """
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise NotReadyError(f"GET http://{LOOPBACK}:{port}{path}: {error or type(error).__name__}") from error
    finally:
        connection.close()


def get_json(port: int, path: str) -> Any:
    """Return the decoded body of ``GET path``; NotReadyError for anything but a JSON answer of status 200."""
    status, body = get(port, path)
    if status != http.client.OK:
        raise NotReadyError(f"GET http://{LOOPBACK}:{port}{path}: status {status}")
    return json.loads(body)


def http_ok(port: int, path: str, timeout_s: float = PROBE_TIMEOUT_S) -> Callable[[float], None]:
    """Return a probe that wants status 200 of `path`."""

    def probe(_started: float) -> None:
        status, _ = get(port, path, timeout_s)
        if status != http.client.OK:
            raise NotReadyError(f"GET http://{LOOPBACK}:{port}{path}: status {status}")

    return probe


def metric_is(port: int, name: str, wanted: float) -> Callable[[float], None]:
    """Return a probe that wants a process's series `name`, without labels, to have a value."""

    def probe(_started: float) -> None:
        _, body = get(port, "/metrics")
        found = [line for line in body.decode().splitlines() if line.startswith(f"{name} ")]
        if found != [f"{name} {wanted}"]:
            raise NotReadyError(f"port {port}: expected {name} {wanted}, found {found or 'no such series'}")

    return probe


def airflow_healthy(port: int, component: str) -> Callable[[float], None]:
    """Return a probe that wants a heartbeat of Airflow's `component` from after its process started."""

    def probe(started: float) -> None:
        health = get_json(port, "/api/v2/monitor/health")[component]
        beat = health.get(f"latest_{component}_heartbeat")
        if health["status"] != "healthy" or (beat is not None and datetime.fromisoformat(beat).timestamp() < started):
            raise NotReadyError(f"Airflow's {component} is {health['status']}, last heartbeat {beat}")

    return probe


def postgres_answers(url: str) -> Callable[[float], None]:
    """Return a probe that wants Postgres at `url` to answer a query."""

    def probe(_started: float) -> None:
        try:
            with psycopg.connect(url, connect_timeout=PROBE_TIMEOUT_S) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError as error:
            raise NotReadyError(f"Postgres: {str(error).strip().splitlines()[-1]}") from error

    return probe


def airflow_takes_tasks(port: int) -> Callable[[float], None]:
    """Return a probe that wants Airflow's API to be healthy, and to have answered where tasks report."""
    healthy, reports = airflow_healthy(port, "metadatabase"), http_ok(port, "/execution/health", FIRST_TIMEOUT_S)

    def probe(started: float) -> None:
        healthy(started)
        reports(started)

    return probe


@contextmanager
def _kafka_admin(port: int) -> Iterator[kafka.KafkaAdminClient]:
    """Yield an admin client of the broker; whatever goes wrong with it is NotReadyError."""
    client = None
    try:
        client = connected(kafka.KafkaAdminClient, f"{LOOPBACK}:{port}", bootstrap_timeout_ms=PROBE_TIMEOUT_S * 1000)
        yield client
    except (kafka.errors.KafkaError, UnavailableError, OSError) as error:
        raise NotReadyError(f"Kafka on port {port}: {error}") from error
    finally:
        if client is not None:
            client.close()


def kafka_answers(port: int) -> Callable[[float], None]:
    """Return a probe that wants the broker to describe its cluster, controller included."""

    def probe(_started: float) -> None:
        with _kafka_admin(port) as client:
            if not client.describe_cluster()["brokers"]:
                raise NotReadyError(f"Kafka on port {port} knows of no broker yet")

    return probe


def kafka_group_reads(port: int, group: str) -> Callable[[float], None]:
    """Return a probe that wants consumers in `group`, with partitions assigned to them."""

    def probe(_started: float) -> None:
        with _kafka_admin(port) as client:
            described = client.describe_groups([group])[group]
            if described["group_state"] != "Stable" or not described["members"]:
                raise NotReadyError(f"consumer group {group} is {described['group_state'] or 'unknown'}")

    return probe


def wait_ready(what: str, probe: Callable[[], None], within_s: float) -> None:
    """Return once `probe` passes.

    Raises
    ------
    StackError
        When it has not within `within_s` seconds, with what was last seen.
    """
    deadline = time.monotonic() + within_s
    while True:
        try:
            return probe()
        except NotReadyError as error:
            if time.monotonic() > deadline:
                raise StackError(f"{what} is not ready after {within_s:.0f} s: {error}") from error
            time.sleep(PAUSE_S)
