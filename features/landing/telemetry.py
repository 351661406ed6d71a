"""What a landing process says of itself: log lines from time to time, and series for Prometheus."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from features.landing.protocol import Outcome

log = structlog.get_logger()

REPORT_S: Final = 5.0
"""Seconds between two lines on what was landed."""
BATCH_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Telemetry:
    """Counts since the start.

    Parameters
    ----------
    metrics_host, metrics_port
        Where Prometheus finds the series; port 0 for nowhere.
    """

    def __init__(self, metrics_host: str, metrics_port: int) -> None:
        registry = CollectorRegistry()
        self._events = Counter(
            "marquee_landing_messages",
            "Messages read from Kafka, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        self._fenced = Counter(
            "marquee_landing_fenced", "Batches given up because another process had landed them.", registry=registry
        )
        self._halted = Gauge("marquee_landing_halted_partitions", "Partitions that are not read on.", registry=registry)
        self._seconds = Histogram(
            "marquee_landing_batch_seconds", "Time to land a batch, waiting for Postgres included.",
            buckets=BATCH_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self._total = Outcome()
        self._written = self._total
        self._written_s = time.monotonic()
        if metrics_port:
            start_http_server(metrics_port, metrics_host, registry=registry)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure the landing of one batch."""
        with self._seconds.time():
            yield

    def add(self, outcome: Outcome) -> None:
        """Count one batch."""
        self._total += outcome
        for name in ("stored", "duplicate", "dead", "skipped", "late", "ahead"):
            self._events.labels(name).inc(getattr(outcome, name))

    def fenced(self) -> None:
        """Count a batch that another process had landed."""
        self._fenced.inc()

    def write(self, *, halted: int = 0, final: bool = False) -> None:
        """Write a line if something happened and it is time, or at the end."""
        self._halted.set(halted)
        now_s = time.monotonic()
        elapsed_s = now_s - self._written_s
        if final or (elapsed_s >= REPORT_S and self._total != self._written):
            new = self._total.messages - self._written.messages
            log.info(
                "landed, all in all" if final else "landed",
                stored=self._total.stored,
                duplicate=self._total.duplicate,
                dead=self._total.dead,
                skipped=self._total.skipped,
                per_second=round(new / elapsed_s),
            )
            self._written, self._written_s = self._total, now_s
