"""Kafka: one broker that is its own controller (KRaft), from Maven's jars."""

import hashlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ops.local.errors import StackError
from ops.local.layout import ROOT
from ops.local.ports import LOOPBACK, Ports
from ops.local.readiness import kafka_answers
from ops.local.service import Service
from ops.local.stack import Stack
from ops.setup.jars import KAFKA_FILES, jars_are_whole, kafka_jars
from ops.setup.java import find_java, java_version
from ops.setup.maven import is_whole

NATIVE_ACCESS_FLAG_SINCE = 24  # from this Java on, libraries in C need leave or a warning is printed
# A broker for one machine shares its cores with all else: half the processor time until it is ready (measured).
SPARING = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


def properties(ports: Ports, data: Path) -> dict[str, str]:
    """Return the broker's configuration."""
    broker, controller = f"{LOOPBACK}:{ports.kafka}", f"{LOOPBACK}:{ports.kafka_controller}"
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "log.dirs": str(data),
        # A topic with a misspelt name is an error, not a new topic.
        "auto.create.topics.enable": "false",
        # One node: nothing to replicate to, so what a power cut may take is bounded by writing to disk each second.
        "log.flush.interval.ms": "1000",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        # To who follows it, a controller without changes shows twice a second that it lives; here nobody does, and it
        # takes a third of what an idle broker takes (measured).
        "metadata.max.idle.interval.ms": "10000",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.dedupe.buffer.size": str(16 * 2**20),  # of a heap of 512 MiB; the default takes a quarter
    }


def java() -> Path:
    """Return the ``java`` that runs Kafka.

    Raises
    ------
    StackError
        Where Java or the jars are missing.
    """
    found, jars = find_java(Path(sys.prefix)), kafka_jars()
    if found is None or not jars_are_whole(jars):
        lack = "Java 17" if found is None else f"Kafka's jars in {jars}"
        raise StackError(f"{lack} missing: run `make setup`, which fetches it")
    return found


def class_archive(program: Path) -> Path:
    """Return the file, there or not, of the broker's classes as this very `java` loads them."""
    home = program.resolve().parents[1]
    release = home / "release"
    told = release.read_bytes() if release.is_file() else b""
    return kafka_jars() / f"classes-{hashlib.sha256(str(home).encode() + told).hexdigest()[:12]}.jsa"


def classes_option(archive: Path) -> list[str]:
    """Return what lets Java start from `archive`, nothing where it is not whole: of a damaged one Java would die."""
    try:
        digest = archive.with_suffix(".sha256").read_text(encoding="ascii")
    except OSError:
        return []
    return [f"-XX:SharedArchiveFile={archive}"] if is_whole(archive.parent, {archive.name: digest}) else []


def _java_command(*options: str) -> list[str]:
    """Return ``java`` with Kafka's class path."""
    program, jars = java(), kafka_jars()
    native = ["--enable-native-access=ALL-UNNAMED"] if (java_version(program) or 0) >= NATIVE_ACCESS_FLAG_SINCE else []
    shared = classes_option(class_archive(program))
    logging = f"-Dlog4j2.configurationFile={KAFKA_FILES / 'log4j2.properties'}"
    return [str(program), *native, *SPARING, *shared, *options, logging, "-cp", f"{jars}/*"]


def service(stack: Stack, settings: Mapping[str, str] | None = None, options: Sequence[str] = ()) -> Service:
    """Return the service; `settings` are added to, or override, the broker's own, `options` are Java's."""
    home = stack.layout.run_dir / "kafka"
    config, data = home / "server.properties", home / "data"

    def prepare() -> None:
        home.mkdir(parents=True, exist_ok=True)
        merged = {**properties(stack.state.ports, data), **(settings or {})}
        lines = [f"{name}={value}" for name, value in merged.items()]
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        _format(config, data, stack.state.secrets.kafka_cluster_id)

    return Service(
        name="kafka",
        argv=(*_java_command("-Xms256m", "-Xmx512m", *options), "kafka.Kafka", str(config)),
        cwd=ROOT,
        port=stack.state.ports.kafka,
        ready=kafka_answers(stack.state.ports.kafka),
        prepare=prepare,
    )


def _format(config: Path, data: Path, cluster_id: str) -> None:
    """Give the data folder its cluster id, once."""
    if (data / "meta.properties").exists():
        return
    command = [*_java_command(), "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise StackError(f"Kafka could not format {data}: {(done.stderr or done.stdout).strip()}")
