"""A rig around real Postgres and Kafka: produce, land in a process of its own, count by id."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient

from features.contracts.events import Event, encode_event, stamp_event
from features.kafka import INTERACTIONS, EventProducer, address, dead_letter_topic, landed_topics, wait_all
from features.kafka_admin import Admin
from features.kafka_sockets import connected
from features.settings import Settings
from tests.support.commands import run_command

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 1, 1, tzinfo=UTC)


def interaction(number: int, **fields: Any) -> Event:
    """Return an interaction that follows from a number: 40 users, 97 items, one minute apart."""
    plain = {"user_id": f"u{number % 40}", "item_id": f"i{number % 97}", "action": "view", "value": 1.0}
    at = datetime.fromtimestamp(START.timestamp() + 60 * number, UTC)
    return stamp_event({**plain, **fields}, now=at, event_id=str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))))


@dataclass
class Rig:
    """Settings of a fresh database and fresh topics, and what tests do with them."""

    settings: Settings
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of the project's commands."""
        secret = self.settings.erasure_secret.get_secret_value()
        return {
            **os.environ,
            "MARQUEE_DATABASE_URL": self.settings.database_url.get_secret_value(),
            "MARQUEE_KAFKA_BOOTSTRAP_SERVERS": self.settings.kafka_bootstrap_servers,
            **({"MARQUEE_ERASURE_SECRET": secret} if secret else {}),
        }

    def command(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Return a finished `python -m features ...`."""
        done = run_command("features", *arguments, environment=self.environment, timeout=600)
        assert not check or done.returncode == 0, done.stderr
        return done

    def start_landing(self, *options: str) -> "subprocess.Popen[str]":
        """Return a running `python -m features land`; it is ended with the test."""
        command = [sys.executable, "-m", "features", "land", *options]
        process = subprocess.Popen(command, env=self.environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        return process

    def land_all(self, slot: str | None = None) -> None:
        """Land everything that is in the topics; in the place of a landing of that slot, if given."""
        self.command("land", "--until-caught-up", *(() if slot is None else ("--slot", slot)))

    def produce(self, events: Iterable[Event], headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """Return once Kafka has all events."""
        with self.producer() as producer:
            wait_all([producer.send(event, headers) for event in events], time.monotonic() + 240)

    def produce_raw(self, values: Iterable[bytes], topic: str = INTERACTIONS) -> None:
        """Return once Kafka has all messages, whatever they hold."""
        with self.producer() as producer:
            wait_all([producer.send_bytes(topic, b"key", value) for value in values], time.monotonic() + 240)

    @contextmanager
    def producer(self) -> Iterator[EventProducer]:
        """Yield a producer, closed afterwards."""
        producer = EventProducer(self.settings, delivery_ms=60_000)  # what expires may have arrived, to be counted
        try:
            yield producer
        finally:
            producer.close()

    def rows(self, query: LiteralString, *parameters: object, fetch: bool = True) -> list[tuple[Any, ...]]:
        """Return what a query of the test's own finds."""
        with psycopg.connect(self.settings.database_url.get_secret_value()) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if fetch else []

    def counters(self) -> dict[str, int]:
        """Return the counters, summed over all partitions."""
        names = ("stored", "duplicate", "dead", "skipped")
        [row] = self.rows(
            "SELECT coalesce(sum(stored), 0)::int, coalesce(sum(duplicate), 0)::int, coalesce(sum(dead), 0)::int, "
            "coalesce(sum(skipped), 0)::int FROM consumer_offsets"
        )
        return dict(zip(names, row, strict=True))

    def messages(self, topic: str) -> list[Any]:
        """Return all messages of a topic, in the order of their partitions and offsets."""
        consumer = connected(
            KafkaConsumer, self.settings.kafka_bootstrap_servers, auto_offset_reset="earliest", metrics_enabled=False
        )
        try:
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
            consumer.assign(partitions)
            ends = consumer.end_offsets(partitions)
            consumer.seek_to_beginning()
            found: list[Any] = []
            while any(consumer.position(at) < ends[at] for at in partitions):
                for records in consumer.poll(timeout_ms=500).values():
                    found.extend(records)
            return found
        finally:
            consumer.close(autocommit=False)

    def end(self) -> None:
        """End every landing process that still runs."""
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate()


def recreate_topics(settings: Settings, partitions: int) -> None:
    """Make all topics anew and empty, so that tests share a broker but no message."""
    admin = connected(KafkaAdminClient, settings.kafka_bootstrap_servers)
    try:
        landed = landed_topics(settings)
        names = {*landed, *map(dead_letter_topic, landed)} & set(admin.list_topics())
        if names:
            admin.delete_topics(sorted(names))
        deadline = time.monotonic() + 120
        while names & set(admin.list_topics()):
            assert time.monotonic() < deadline, f"topics were not deleted: {names}"
    finally:
        admin.close()
    with Admin(settings) as ours:
        ours.create_topics(landed, partitions)


def encoded(events: Iterable[Event]) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield topic, key and value of events."""
    for event in events:
        yield (*address(event), encode_event(event))
