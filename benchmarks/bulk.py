"""Speed of bulk work: rows a second from a file to committed rows, again as duplicates, and out to parquet."""

import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from benchmarks.record import record
from benchmarks.services import features, services
from features.settings import Settings

ROWS: Final = 1_000_000
USERS: Final = 50_000
ITEMS: Final = 20_000
START_US: Final = 1_735_689_600_000_000
YEAR_US: Final = 365 * 86_400_000_000
MIB: Final = 2**20


def run() -> None:
    """Measure `python -m features import` and `export`, their start and the look at all rows included."""
    with tempfile.TemporaryDirectory(prefix="marquee-bulk-") as name, services() as settings:
        folder = Path(name)
        parquet, csv = folder / "first.parquet", folder / "second.csv"
        pq.write_table(_interactions(0), parquet)
        pa_csv.write_csv(_interactions(1), csv)
        figures = {
            "parquet, all new": _measure(settings, "import", "--interactions", str(parquet)),
            "parquet, again: duplicates only": _measure(settings, "import", "--interactions", str(parquet)),
            "parquet, a look only": _measure(settings, "import", "--interactions", str(parquet), "--dry-run"),
            "CSV, all new": _measure(settings, "import", "--interactions", str(csv)),
            "export to parquet by day": _measure(settings, "export", str(folder / "out"), rows=2 * ROWS),
        }
    record("bulk", {"rows": ROWS, "users": USERS, "items": ITEMS, "runs": figures})


def _interactions(seed: int) -> pa.Table:
    """Return a year of watches in the order of time, the items by popularity."""
    rng = np.random.default_rng(seed)
    at_us = START_US + np.sort(rng.integers(YEAR_US, size=ROWS))
    return pa.table(
        {
            "user_id": pa.array([f"u{number}" for number in rng.integers(USERS, size=ROWS)]),
            "item_id": pa.array([f"i{number}" for number in rng.zipf(1.3, size=ROWS) % ITEMS]),
            "occurred_at": pa.array(at_us, pa.timestamp("us", "UTC")),
            "action": pa.array(["watch"] * ROWS),
            "value": pa.array(rng.random(ROWS).round(3)),
        }
    )


def _measure(settings: Settings, *arguments: str, rows: int = ROWS) -> dict[str, Any]:
    """Return rows a second of one command, and the most memory that it held."""
    print("bulk:", *arguments, flush=True)
    stop, most = threading.Event(), [0]
    watcher = threading.Thread(target=_watch, args=(stop, most))
    watcher.start()
    started = time.perf_counter()
    try:
        features(settings, *arguments)
    finally:
        elapsed_s = time.perf_counter() - started
        stop.set()
        watcher.join()
    return {"rows_per_s": round(rows / elapsed_s), "seconds": round(elapsed_s, 1), "peak_mib": round(most[0] / MIB)}


def _watch(stop: threading.Event, most: list[int]) -> None:
    """Keep the largest resident size of the command in `most`, looking ten times a second."""
    while not stop.wait(0.1):
        for process in psutil.Process().children():
            try:
                if "features" in process.cmdline():
                    most[0] = max(most[0], process.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
