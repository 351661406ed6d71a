"""``python -m ops.local.class_archive``: let a broker leave its loaded classes in a file from which the next start.

What Java calls an archive of class data: a start with it takes a third of the time and of the processor (measured), and
a broker that finds none, or one of another Java, starts as ever. Made once by `make setup`.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ops.local.direct import running
from ops.local.errors import StackError
from ops.local.layout import Layout
from ops.local.ports import free_ports
from ops.local.services import kafka
from ops.local.stack import Stack
from ops.local.state import Secrets, State


def make(archive: Path) -> None:
    """Write `archive`, whole or not at all, by a broker that starts and ends.

    Raises
    ------
    StackError
        Where the broker does not start, or Java wrote nothing.
    """
    folder = Path(tempfile.mkdtemp(prefix="marquee-classes-"))
    try:
        stack = Stack(Layout(folder / "run", folder / "artifacts"), State(free_ports(), Secrets()))
        stack.layout.run_dir.mkdir()
        fresh = archive.with_name(f".{folder.name}.jsa")
        try:
            with running(kafka.service(stack, options=(f"-XX:ArchiveClassesAtExit={fresh}",)), stack):
                pass  # ready is enough: by then it has loaded what a start loads
            if not fresh.is_file():
                raise StackError(f"Java left no {archive.name}")
            digest = hashlib.sha256(fresh.read_bytes()).hexdigest()
            archive.with_suffix(".sha256").write_text(digest, encoding="ascii")
            fresh.rename(archive)
        finally:
            fresh.unlink(missing_ok=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _can_be_made(java: Path) -> bool:
    """Return whether this Java has an archive of its own classes, on which one of a program's must stand."""
    command = [str(java), "-Xshare:on", "-version"]
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0


def main() -> int:
    """Return 0: a broker does without, so that nothing here may fail a setup."""
    try:
        java = kafka.java()
        archive = kafka.class_archive(java)
        if not kafka.classes_option(archive) and _can_be_made(java):
            make(archive)
            print("Kafka's classes are kept for quick starts", flush=True)
    except (StackError, OSError) as error:
        print(f"Kafka will start more slowly than it could: {error}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
