"""The stack of `make up`: comes up whole, again after anything was killed, and leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import kafka
import psutil
import psycopg
import pytest

from features.kafka_sockets import connected
from ops.demo.airflow import Airflow
from ops.local.layout import ROOT, Layout
from ops.local.ports import free_ports, is_busy, variable
from ops.local.processes import stack_processes
from ops.local.services.postgres import admin_url
from ops.local.stack import MARKER, Stack, open_stack
from tests.conftest import WaitUntil

pytestmark = pytest.mark.integration


class Commands:
    """`python -m ops.local` on a stack in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder)
        self.ports = free_ports()
        chosen = {variable(name): str(port) for name, port in vars(self.ports).items()}
        self._environment = {**os.environ, "MARQUEE_RUN_DIR": str(folder), **chosen}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Return the ended command, its output captured."""
        command = [sys.executable, "-m", "ops.local", *arguments]
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def succeed(self, *arguments: str) -> str:
        """Return what the command printed; fail the test where it failed."""
        done = self(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def stack(self) -> Stack:
        """The stack that was started."""
        stack = open_stack(self.layout)
        assert stack is not None
        return stack

    def pid(self, word: str) -> int:
        """Return the process of the stack that has `word` in its command, the eldest of several."""
        found = [process for process in stack_processes(self.layout) if word in _command(process)]
        return min(found, key=psutil.Process.create_time).pid

    def left(self) -> list[object]:
        """Return the processes and listening ports that are there."""
        return [*stack_processes(self.layout), *(port for port in vars(self.ports).values() if is_busy(port))]


@pytest.fixture
def local() -> Iterator[Commands]:
    folder = Path(tempfile.mkdtemp(prefix="marquee-stack-"))
    folder.chmod(0o711)  # Postgres runs as another account where tests run as root
    commands = Commands(folder / "run")
    yield commands
    cleaned = commands("clean")
    shutil.rmtree(folder, ignore_errors=True)
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert not commands.left()
    assert not commands.layout.artifacts.exists()


def _asked_to_train(local: Commands) -> bool:
    """Return whether Airflow runs a training that the API asks for: as fresh as it is, it is not paused."""
    settings = local.stack.settings()
    admin = {"Authorization": f"Bearer {settings['MARQUEE_ADMIN_TOKEN']}"}
    answer = httpx.post(f"{settings['MARQUEE_API_URL']}/api/v1/models/train", json={}, headers=admin, timeout=120)
    # 409: Airflow does not know the DAG yet, or has begun; 503: it answers slowly on a busy machine.
    assert answer.status_code in {202, 409, 503}, answer.text
    return answer.is_success


def _under_way(local: Commands, since: datetime) -> bool:
    """Return whether the demo would follow a training that somebody else asked for after an instant."""
    settings = local.stack.settings()
    names = ("MARQUEE_AIRFLOW_URL", "MARQUEE_AIRFLOW_USERNAME", "MARQUEE_AIRFLOW_PASSWORD")
    with Airflow(*(settings[name] for name in names)) as airflow:
        return airflow.under_way("train_recommender", since) is not None


def _command(process: psutil.Process) -> str:
    """Return the command of a process; nothing of one that has ended, as those of a task do any time."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def _connections(process: psutil.Process) -> list[Any]:
    """Return the TCP connections of a process; none of one that has ended."""
    with suppress(psutil.NoSuchProcess):
        return list(process.net_connections("tcp"))
    return []


def test_the_whole_stack_comes_up_once_shows_itself_and_goes_down(local: Commands, wait_until: WaitUntil) -> None:
    local.succeed("up")
    shown = local.succeed("status")
    assert shown.count("yes") == 9
    assert local.stack.state.secrets.airflow_login in shown
    assert "is up already" in local.succeed("up")
    asked_at = datetime.now(UTC)
    wait_until(lambda: _asked_to_train(local), 120, "Airflow knows the DAG")
    assert _under_way(local, asked_at)
    assert not _under_way(local, datetime.now(UTC))
    listening = [one for process in stack_processes(local.layout) for one in _connections(process)]
    assert {one.laddr[0] for one in listening if one.status == psutil.CONN_LISTEN} <= {"127.0.0.1", "::ffff:127.0.0.1"}
    scheduler = psutil.Process(local.pid("airflow scheduler"))
    workers = wait_until(scheduler.children, 60, "the scheduler has workers")
    scheduler.kill()
    wait_until(lambda: not any(worker.is_running() for worker in workers), 10, "the workers have ended with it")
    assert "no process and no listening port is left" in local.succeed("down")
    assert not local.left()


def test_it_comes_up_with_its_data_after_anything_was_killed(local: Commands) -> None:
    local.succeed("up", "kafka", "postgres")
    _write(local)
    for word in ("bin/postgres", "kafka.Kafka", "supervisord"):
        os.kill(local.pid(word), signal.SIGKILL)
        local.succeed("up", "kafka", "postgres")
    everyone = stack_processes(local.layout)
    for process in everyone:
        process.kill()
    psutil.wait_procs(everyone, timeout=120)
    local.succeed("up", "kafka", "postgres")
    with psycopg.connect(admin_url(local.stack)) as connection:
        assert connection.execute("SELECT * FROM kept").fetchall() == [(7,)]
    consumer = connected(kafka.KafkaConsumer, local.stack.settings()["MARQUEE_KAFKA_BOOTSTRAP_SERVERS"])
    assert consumer.end_offsets([kafka.TopicPartition("kept", 0)]) == {kafka.TopicPartition("kept", 0): 1}
    consumer.close()
    # As a killed scheduler leaves its workers: the stack's, and nobody's child.
    left = {**os.environ, MARKER: str(local.layout.run_dir)}
    subprocess.run(["sh", "-c", "sleep 1000 >/dev/null 2>&1 &"], env=left, check=True)
    assert "ending 1 processes that no supervisor watched" in local.succeed("down")


def _write(local: Commands) -> None:
    """Leave one row and one message."""
    with psycopg.connect(admin_url(local.stack)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    brokers = local.stack.settings()["MARQUEE_KAFKA_BOOTSTRAP_SERVERS"]
    admin = connected(kafka.KafkaAdminClient, brokers)
    admin.create_topics(["kept"])
    admin.close()
    producer = connected(kafka.KafkaProducer, brokers, acks="all")
    producer.send("kept", b"value").get(timeout=120)
    producer.close()


def test_a_running_stack_refuses_other_ports_and_a_second_one_says_who_holds_them(local: Commands) -> None:
    local.succeed("up", "postgres")
    moved = Commands(local.layout.run_dir)
    refused = moved("up", "postgres")
    assert refused.returncode == 2
    assert "make down" in refused.stdout
    second = Commands(local.layout.run_dir.with_name("second"))
    second._environment |= {variable("postgres"): str(local.ports.postgres)}
    busy = second("up", "postgres")
    assert busy.returncode == 2
    assert f"port {local.ports.postgres} (postgres) is held by process" in busy.stdout
    assert "MARQUEE_POSTGRES_PORT=NUMBER" in busy.stdout
    local.succeed("down")
    second.succeed("clean")
