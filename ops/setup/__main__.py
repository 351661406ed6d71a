"""`make setup`, `make minilm`, `make lock`: standard library only, since it runs before the environment exists."""

import sys
import time
from argparse import ArgumentParser
from pathlib import Path

from ops.setup import jars, java, minilm, packages, system
from ops.setup.errors import SetupError

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"


def setup() -> None:
    """Bring environment, Java and Kafka's jars to what the checkout asks for; quick when they are."""
    started = time.monotonic()
    system.install_system_needs()
    if not (VENV / "requirements.sha256").is_file():
        system.check_disk(ROOT)
    packages.ensure_venv(VENV)
    if packages.sync(ROOT, VENV):
        print(f"environment filled from requirements.lock ({time.monotonic() - started:.0f} s)", flush=True)
    if java.find_java(VENV) is None:
        print("no Java 17 on this machine: installing one into the environment", flush=True)
        packages.install_java(ROOT, VENV)
    found = _java()
    jars.fetch_jars(found)
    if not any(jars.kafka_jars().glob("classes-*.jsa")):
        packages.run_module(VENV, "ops.local.class_archive")
    print(f"ready: {VENV / 'bin' / 'python'}, {found}, Kafka {jars.KAFKA_VERSION} ({time.monotonic() - started:.1f} s)")


def add_minilm() -> None:
    """Add the encoder MiniLM to the environment and fetch its model."""
    packages.install_minilm(ROOT, VENV)
    folder = minilm.fetch_model(_java())
    print(f"ready: {folder}\nan encoder of it: {VENV / 'bin' / 'python'} -m features encoders fit --minilm {folder}")


def _java() -> Path:
    found = java.find_java(VENV)
    if found is None:
        raise SetupError("Java 17 or later is missing", "apt-get install default-jre-headless")
    return found


def write_locks() -> None:
    """Resolve what the checkout asks for anew, and write it down."""
    packages.ensure_venv(VENV)
    packages.write_locks(ROOT, VENV)


def main(arguments: list[str]) -> int:
    """Return the exit code of ``python -m ops.setup [lock | minilm]``."""
    steps = {"setup": setup, "lock": write_locks, "minilm": add_minilm}
    parser = ArgumentParser(prog="python -m ops.setup", description=__doc__)
    parser.add_argument("step", nargs="?", choices=steps, default="setup", help="what to do; setup if left out")
    try:
        steps[parser.parse_args(arguments).step]()
    except SetupError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
