"""What the machine itself must have: Java, Maven, libgomp, disk."""

import ctypes.util
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ops.setup.errors import SetupError
from ops.setup.jars import jars_are_whole, kafka_jars

DISK_NEEDED_GB = 5  # environment 1.4, caches 0.3, Kafka and Postgres of a demo 1; the rest is room for models


@dataclass(frozen=True)
class SystemNeed:
    """One thing of the system: how to see whether it is there, and Debian's package of it."""

    name: str
    present: Callable[[], bool]
    debian_package: str
    elsewhere: str


def _maven_or_jars() -> bool:
    """Return whether Kafka's jars lie in the cache already, or Maven is there to fetch them."""
    return shutil.which("mvn") is not None or jars_are_whole(kafka_jars())


NEEDS = (
    SystemNeed("Maven (fetches Kafka's jars)", _maven_or_jars, "maven", "brew install maven"),
    SystemNeed(
        "libgomp (LightGBM and implicit load it)",
        lambda: ctypes.util.find_library("gomp") is not None or ctypes.util.find_library("omp") is not None,
        "libgomp1",
        "brew install libomp",
    ),
)


def install_system_needs() -> None:
    """Check every need; on Debian as root install what is missing.

    Raises
    ------
    SetupError
        Naming the missing things and the command that installs them.
    """
    missing = [need for need in NEEDS if not need.present()]
    if not missing:
        return
    packages = " ".join(need.debian_package for need in missing)
    if os.geteuid() == 0 and shutil.which("apt-get"):
        _apt_install(packages.split())
        missing = [need for need in missing if not need.present()]
    if missing:
        raise SetupError(
            "missing on this machine: " + ", ".join(need.name for need in missing),
            f"apt-get install {packages}  (macOS: {'; '.join(need.elsewhere for need in missing)})",
        )


def _apt_install(packages: list[str]) -> None:
    """Install Debian packages without a question asked; a failure is seen by the check that follows."""
    print("installing from Debian:", *packages, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *packages]):
        apt = shutil.which("apt-get") or "apt-get"
        subprocess.run([apt, *command], env=environment, stdin=subprocess.DEVNULL, check=False)


def check_disk(folder: Path) -> None:
    """Raise SetupError where `folder`'s disk has too little room for an environment and a stack."""
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < DISK_NEEDED_GB:
        raise SetupError(
            f"{folder} has {free_gb:.1f} GB free, {DISK_NEEDED_GB} GB are needed",
            "make clean  (empties the stack's folders), or check out on a larger disk",
        )
