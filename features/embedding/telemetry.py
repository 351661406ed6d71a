"""What an embedder says of itself: log lines from time to time, and series for Prometheus."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from features.db.connection import Connection
from features.db.queries import queries
from features.embedding.batches import Outcome

log = structlog.get_logger()

REPORT_S: Final = 5.0
"""Seconds between two lines on what was embedded, and between two counts of what waits."""
COUNT_S: Final = 60.0
"""Seconds between two counts of all vectors, which take a look at each of them."""
BATCH_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LAG_BUCKETS_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300, 1800)


class Telemetry:
    """Counts since the start, and what waits now.

    Parameters
    ----------
    metrics_host, metrics_port
        Where Prometheus finds the series; port 0 for nowhere.
    """

    def __init__(self, metrics_host: str, metrics_port: int) -> None:
        registry = CollectorRegistry()
        self._texts = Counter(
            "marquee_embedding_texts",
            "Texts taken from the queue, by what became of them: embedded (one vector for each encoder), failed "
            "(a vector of zeros), unchanged, gone.",
            ["outcome"],
            registry=registry,
        )
        self._lag = Histogram(
            "marquee_embedding_lag_seconds", "From an item's change to its vector.",
            buckets=LAG_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "marquee_embedding_batch_seconds", "Time to claim, embed and write a batch.",
            buckets=BATCH_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self._waiting = Gauge(
            "marquee_embedding_waiting_texts",
            "Rows of the queue, by how they came there: changed, scanned (found by the scan).",
            ["found"],
            registry=registry,
        )
        self._oldest = Gauge(
            "marquee_embedding_oldest_waiting_seconds", "Since when the oldest row of the queue waits.",
            registry=registry,
        )  # fmt: skip
        self._vectors = Gauge(
            "marquee_embedding_vectors", "Vectors by encoder, at the last count.", ["encoder", "state"],
            registry=registry,
        )  # fmt: skip
        self._poison = Gauge(
            "marquee_embedding_failed_vectors", "Vectors of zeros because the encoder failed, at the last count.",
            ["encoder"], registry=registry,
        )  # fmt: skip
        self._items = Gauge("marquee_embedding_items", "Items, at the last count.", registry=registry)
        self._explained = Gauge(
            "marquee_embedding_explained_share",
            "Share of what was to be explained of new texts that is: falls when they drift away from the fit.",
            registry=registry,
        )
        self._fits = Counter("marquee_embedding_fits", "Fits of a new encoder that were begun.", registry=registry)
        self._following = Gauge(
            "marquee_embedding_following", "1 while it follows the database, 0 while it waits for it.",
            registry=registry,
        )  # fmt: skip
        self._total = self._written = 0
        self._written_s = self._counted_s = time.monotonic()
        self._counted_s -= COUNT_S
        if metrics_port:
            start_http_server(metrics_port, metrics_host, registry=registry)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure one batch."""
        began_s = time.monotonic()
        yield
        self._batch_s = time.monotonic() - began_s

    def add(self, outcome: Outcome) -> None:
        """Count one batch that had something in it."""
        self._seconds.observe(self._batch_s)
        self._total += outcome.embedded
        for name in ("embedded", "failed", "unchanged", "gone"):
            self._texts.labels(name).inc(getattr(outcome, name))
        for waited_s in outcome.waited_s:
            self._lag.observe(waited_s)

    def following(self, *, yes: bool) -> None:
        """Note whether the database is there."""
        self._following.set(yes)

    def fit_begun(self) -> None:
        """Count a fit."""
        self._fits.inc()

    def explained(self, share: float) -> None:
        """Note the share of what was to be explained that is."""
        self._explained.set(share)

    def write(self, connection: Connection | None, *, final: bool = False) -> None:
        """Write a line if something happened, and count what waits, if it is time, or at the end."""
        now_s = time.monotonic()
        elapsed_s = now_s - self._written_s
        if not final and elapsed_s < REPORT_S:
            return
        if final or self._total != self._written:
            per_second = round((self._total - self._written) / max(elapsed_s, 1e-3))
            log.info("embedded, all in all" if final else "embedded", vectors=self._total, per_second=per_second)
        self._written, self._written_s = self._total, now_s
        if connection is not None and not final:
            self._count(connection, now_s)

    def _count(self, connection: Connection, now_s: float) -> None:
        changed, scanned, oldest = queries.queue_stand(connection)
        self._waiting.labels("changed").set(changed)
        self._waiting.labels("scanned").set(scanned)
        self._oldest.set(0 if oldest is None else max(0.0, (datetime.now(UTC) - oldest).total_seconds()))
        if now_s - self._counted_s < COUNT_S:
            return
        self._counted_s = now_s
        self._items.set(queries.count_items(connection))
        self._vectors.clear()
        self._poison.clear()
        for digest, state, vectors, failed in queries.encoder_progress(connection):
            self._vectors.labels(digest, state).set(vectors)
            self._poison.labels(digest).set(failed)
