"""Kafka's jars: fetched once by Maven, checked against committed sums, kept outside the checkout."""

from pathlib import Path

from ops.setup.errors import SetupError
from ops.setup.maven import cache_folder, copy_jars, is_whole, kept

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
    return is_whole(folder, expected_sums())


def fetch_jars(java: Path) -> Path:
    """Return the folder of Kafka's jars, fetched by Maven if it is not whole.

    Raises
    ------
    SetupError
        Where Maven is missing or fails, or a jar differs from its committed sum.
    """

    def fetch(fresh: Path) -> None:
        copy_jars(KAFKA_FILES / "pom.xml", fresh, java, f"Kafka {KAFKA_VERSION}", "make setup")

    differs = SetupError(
        f"Kafka's jars from Maven differ from {SUMS.name}", "rm -rf ~/.m2/repository/org/apache/kafka; make setup"
    )
    return kept(kafka_jars(), expected_sums(), fetch, differs)
