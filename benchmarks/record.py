"""Results of a benchmark: committed JSON that says when, where and at what scale it was measured."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ops.setup.minilm import is_there

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"


def data_for(benchmark: str) -> Path | None:
    """Return the folder of public data sets beside the checkout (or MARQUEE_SHARED_DATA).

    Where it is missing, None, and that the benchmark is skipped is printed.
    """
    folder = Path(os.environ.get("MARQUEE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if folder.is_dir():
        return folder
    print(f"{benchmark}: skipped, there is no folder of public data beside the checkout (set MARQUEE_SHARED_DATA)")
    return None


def there_is_minilm() -> bool:
    """Return whether `make minilm` has been; that a benchmark goes without it is printed."""
    if is_there():
        return True
    print("without MiniLM: `make minilm` fetches it", flush=True)
    return False


def commit() -> str:
    """Return the short name of the commit that is measured, empty where there is no git."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def record(name: str, figures: dict[str, Any]) -> None:
    """Write a benchmark's figures with date, commit and machine."""
    content = {
        "benchmark": name,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": {
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "python": platform.python_version(),
            "load_before": round(os.getloadavg()[0], 1),
        },
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read(name: str) -> dict[str, Any] | None:
    """Return the committed figures of a benchmark, None before its first run."""
    file = RESULTS / f"{name}.json"
    found: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    return found
