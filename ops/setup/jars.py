"""Kafka's jars: fetched once by Maven, checked against committed sums, kept outside the checkout."""

import hashlib
import shutil
import tempfile
from pathlib import Path

from ops.setup.errors import SetupError
from ops.setup.maven import cache_folder, copy_jars

KAFKA_VERSION = "4.4.0"
KAFKA_FILES = Path(__file__).resolve().parents[1] / "local" / "kafka"
SUMS = KAFKA_FILES / "jars.sha256"


def kafka_jars() -> Path:
    """Return the folder that holds, or will hold, Kafka's jars."""
    return cache_folder() / f"kafka-{KAFKA_VERSION}"


def expected_sums() -> dict[str, str]:
    """Return file name -> SHA-256 (hex) of every jar, as committed."""
    lines = SUMS.read_text(encoding="ascii").split("\n")
    return {name: digest for digest, name in (line.split("  ") for line in lines if line)}


def jars_are_whole(folder: Path) -> bool:
    """Return whether every expected jar lies in `folder` with its expected content."""
    return all(
        (folder / name).is_file() and hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        for name, digest in expected_sums().items()
    )


def fetch_jars(java: Path) -> Path:
    """Return the folder of Kafka's jars, fetched by Maven if it is not whole.

    They are copied into a new folder first and renamed at the end, so that a broken download is never taken for whole.

    Raises
    ------
    SetupError
        Where Maven is missing or fails, or a jar differs from its committed sum.
    """
    folder = kafka_jars()
    if folder.is_dir() and jars_are_whole(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kafka-", dir=folder.parent) as temporary:
        fresh = Path(temporary) / "jars"
        copy_jars(KAFKA_FILES / "pom.xml", fresh, java, f"Kafka {KAFKA_VERSION}", "make setup")
        if not jars_are_whole(fresh):
            raise SetupError(
                f"Kafka's jars from Maven differ from {SUMS.name}",
                "rm -rf ~/.m2/repository/org/apache/kafka; make setup",
            )
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    return folder
