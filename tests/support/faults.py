"""A rig for faults: a seeded stream whose history is on disk, landing processes that can be armed, and the checker."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psycopg
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from features.failpoints import VARIABLE
from features.kafka import LANDING_GROUP, EventProducer, landed_topics
from features.kafka_admin import Admin
from features.kafka_sockets import connected
from features.settings import Settings
from tests.support.history import History, Verdict, check
from tests.support.landing import ROOT, Rig, recreate_topics
from tests.support.processes import uncounted
from tests.support.stream import Sent, Stream, deliver

Ends = dict[tuple[str, int], int]
Process = subprocess.Popen[str]


@dataclass
class FaultRig(Rig):
    """A rig whose every message is in a history.

    Attributes
    ----------
    stream
        Where messages come from.
    landing_settings
        Where landing finds its services if not where the tests do: behind proxies.
    folder
        Of the history and of the logs of landing.
    """

    stream: Stream = field(default_factory=lambda: Stream(1))
    landing_settings: Settings | None = None
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="marquee-faults-")))

    def __post_init__(self) -> None:
        """Open the history and connect."""
        self.history = History(self.folder / "history.jsonl")
        self.sender = EventProducer(self.settings)
        self.logs: dict[int, Path] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End every process and disconnect."""
        self.end()
        self.sender.close()
        self.history.__exit__()

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of the project's commands: without coverage, of which nothing killed could tell."""
        return uncounted(super().environment)

    def send(self, count: int) -> None:
        """Send the next messages of the stream; Kafka has them when this returns."""
        self.deliver(self.stream.take(count))

    def deliver(self, messages: list[Sent]) -> None:
        """Send messages, each noted before."""
        deliver(self.sender, self.history, messages)

    def start_landing(self, *options: str, failpoints: str = "", **variables: str) -> Process:
        """Return a running landing process, armed with failpoints, its words in a log; it is ended with the test."""
        via = self.landing_settings or self.settings
        environment = self.environment | {
            "MARQUEE_DATABASE_URL": via.database_url.get_secret_value(),
            "MARQUEE_KAFKA_BOOTSTRAP_SERVERS": via.kafka_bootstrap_servers,
            "MARQUEE_LOG_FORMAT": "json",
            VARIABLE: failpoints,
            **variables,
        }
        path = self.folder / f"landing-{len(self.started)}.log"
        with path.open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "features", "land", *options],
                env=environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
            )
        self.started.append(process)
        self.logs[process.pid] = path
        return process

    def log(self, process: Process) -> str:
        """Return what a landing process said."""
        return self.logs[process.pid].read_text(encoding="utf-8")

    def logged(self, process: Process, event: str) -> list[dict[str, object]]:
        """Return the log lines of one kind of event of a landing process."""
        lines = (json.loads(line) for line in self.log(process).splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == event]

    def ends(self) -> Ends:
        """Return where the topics end now."""
        with Admin(self.settings) as admin:
            return admin.end_offsets(landed_topics(self.settings))

    def members(self) -> list[int]:
        """Return how many partitions each member of landing's group has; none while the group changes."""
        admin = connected(KafkaAdminClient, self.settings.kafka_bootstrap_servers)
        try:
            group = admin.describe_groups([LANDING_GROUP])[LANDING_GROUP]
        except KafkaError:
            return []  # no member has come yet: the group has no coordinator
        finally:
            admin.close()
        if group["group_state"] != "Stable":
            return []
        assigned = [member["member_assignment"]["assigned_partitions"] for member in group["members"]]
        return [sum(len(topic["partitions"]) for topic in topics) for topics in assigned]

    def landed(self, ends: Ends) -> bool:
        """Return whether landing stands at these ends or past them, and every dead letter is published."""
        try:
            return self._landed(ends)
        except psycopg.OperationalError:
            return False  # Postgres is coming back

    def _landed(self, ends: Ends) -> bool:
        found = self.rows("SELECT topic, partition, max(next_offset) FROM consumer_offsets GROUP BY topic, partition")
        stands = {(topic, partition): offset for topic, partition, offset in found}
        [(unpublished,)] = self.rows("SELECT count(*) FROM dead_letters WHERE published_at IS NULL")
        return not unpublished and all(stands.get(at, 0) >= end for at, end in ends.items())

    def landed_anew(self, topic: str, ends: Ends) -> bool:
        """Return whether the latest life of a topic is landed up to these ends."""
        with Admin(self.settings) as admin:
            topic_id = admin.topic_ids([topic])[topic]
        found = self.rows("SELECT partition, next_offset FROM consumer_offsets WHERE topic_id = %s", topic_id)
        stands = dict(found)
        return all(stands.get(partition, 0) >= end for (name, partition), end in ends.items() if name == topic)

    def delete(self, topic: str) -> None:
        """Delete a topic."""
        admin = connected(KafkaAdminClient, self.settings.kafka_bootstrap_servers)
        try:
            admin.delete_topics([topic])
            deadline = time.monotonic() + 120
            while topic in admin.list_topics():
                assert time.monotonic() < deadline, f"{topic} was not deleted"
        finally:
            admin.close()

    def check(self, *, by_command: bool = True) -> Verdict:
        """Return what the checker finds; see `tests.support.history.check`."""
        return check(self, self.folder / "history.jsonl", by_command=by_command)

    def end(self) -> None:
        """End every landing process that still runs, also frozen ones."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()


def assert_clean(rig: FaultRig, *, by_command: bool = True) -> Verdict:
    """Return the checker's verdict, which finds nothing wrong."""
    verdict = rig.check(by_command=by_command)
    assert not verdict.faults, verdict.faults
    assert verdict.counters["skipped"] == 0
    return verdict


@contextmanager
def fault_rig(settings: Settings, seed: int, *, partitions: int = 2, via: Settings | None = None) -> Iterator[FaultRig]:
    """Yield a rig over empty topics and the database of some settings."""
    recreate_topics(settings, partitions)
    print(f"seed {seed}")  # noqa: T201  # pytest shows it when a test fails
    with (
        tempfile.TemporaryDirectory(prefix="marquee-faults-") as folder,
        FaultRig(settings, stream=Stream(seed), landing_settings=via, folder=Path(folder)) as rig,
    ):
        yield rig


def frozen(process: Process) -> bool:
    """Return whether a process was stopped by SIGSTOP."""
    status = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii")
    return status.rpartition(")")[2].split()[0] == "T"


def wake(process: Process) -> None:
    """Let a frozen process go on."""
    os.kill(process.pid, signal.SIGCONT)


def seconds_until(condition: Callable[[], bool], wait: Callable[..., object], timeout: float, what: str) -> float:
    """Return how long it took until a condition held; pytest shows it with `-rP`."""
    began = time.monotonic()
    wait(condition, timeout=timeout, what=what)
    took = time.monotonic() - began
    print(f"{took:.1f} s: {what}")  # noqa: T201
    return took
