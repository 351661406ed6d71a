"""Kafka's classes, kept for quick starts by `make setup`."""

import subprocess
from pathlib import Path

import pytest

from ops.local.layout import Layout
from ops.local.ports import free_ports
from ops.local.services import kafka
from ops.local.stack import Stack
from ops.local.state import Secrets, State
from ops.setup.jars import kafka_jars


@pytest.fixture
def archive() -> Path:
    """Return the archive that `make setup` made."""
    if not (kept := kafka.class_archive(kafka.java())).is_file():
        pytest.skip("this Java has no archive of its own classes")
    return kept


def test_a_broker_starts_from_the_classes_that_its_java_accepts(archive: Path, tmp_path: Path) -> None:
    service = kafka.service(Stack(Layout(tmp_path), State(free_ports(), Secrets())))
    assert f"-XX:SharedArchiveFile={archive}" in service.argv
    # With sharing asked for, Java refuses classes of another Java or of other jars.
    options = ("-Xshare:on", f"-XX:SharedArchiveFile={archive}", "-cp", f"{kafka_jars()}/*", "-version")
    subprocess.run([str(kafka.java()), *kafka.SPARING, *options], capture_output=True, check=True)


def test_of_damaged_classes_java_would_die_so_they_are_not_used(archive: Path, tmp_path: Path) -> None:
    kept = tmp_path / archive.name
    kept.with_suffix(".sha256").write_bytes(archive.with_suffix(".sha256").read_bytes())
    assert kafka.classes_option(kept) == []

    content = archive.read_bytes()
    kept.write_bytes(content)
    assert kafka.classes_option(kept) == [f"-XX:SharedArchiveFile={kept}"]

    for damaged in (content[: 2**20], b""):
        kept.write_bytes(damaged)
        assert kafka.classes_option(kept) == []
