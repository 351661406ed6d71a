"""A server that has a bundle, and nothing else: neither Postgres nor Kafka nor MLflow is where it looks for them."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from benchmarks.record import ROOT
from ops.local.ports import LOOPBACK, free_port

START_WITHIN_S: Final = 300
NOWHERE: Final = f"{LOOPBACK}:9"
"""Nothing listens there: the server has its bundle alone, and nothing else takes memory beside it."""


@contextmanager
def bundle_server(cache: Path, workers: int) -> Iterator[tuple["subprocess.Popen[bytes]", httpx.Client, float]]:
    """Yield a server, a client of it, and the seconds until all workers served."""
    port = free_port()
    environment = {
        **os.environ,
        "MARQUEE_DATABASE_URL": f"postgresql://nobody:none@{NOWHERE}/none",
        "MARQUEE_KAFKA_BOOTSTRAP_SERVERS": NOWHERE,
        "MARQUEE_MLFLOW_TRACKING_URI": f"http://{NOWHERE}",
        "MARQUEE_API_PORT": str(port),
        "MARQUEE_CACHE_DIR": str(cache),
        "MARQUEE_DEADLINE_MS": "60000",
    }
    command = [sys.executable, "-m", "serving", "--workers", str(workers)]
    started = time.perf_counter()
    with (
        subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL) as process,
        httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=60) as client,
    ):
        try:
            _wait(client, workers)
            yield process, client, time.perf_counter() - started
        finally:
            process.terminate()


def _wait(client: httpx.Client, workers: int) -> None:
    """Return once all workers serve the bundle."""
    deadline, pause = time.monotonic() + START_WITHIN_S, threading.Event()
    while time.monotonic() < deadline:
        try:
            serving = re.search(r"^marquee_bundle_info{.*} (.*)$", client.get("/metrics").text, re.MULTILINE)
        except httpx.TransportError:
            serving = None
        if serving is not None and float(serving[1]) == workers:
            return
        pause.wait(0.02)
    raise TimeoutError(f"{workers} workers did not serve within {START_WITHIN_S} s")
