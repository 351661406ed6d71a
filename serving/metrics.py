"""Prometheus series of one server, in a registry of its own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from serving.texts import Texts

_SECONDS: Final = (0.0005, 0.001, 0.002, 0.004, 0.007, 0.01, 0.015, 0.025, 0.05, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0)


class PostedSeries:
    """What became of posted events."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "marquee_events_posted_total", "Events posted, by outcome.", ("outcome",), registry=registry
        )
        self.refusals = Counter(
            "marquee_events_refused_total", "Posted events that were refused, by reason.", ("code",), registry=registry
        )
        self.acknowledged = Histogram(
            "marquee_events_acknowledged_seconds",
            "Time from a request's events being read until Kafka's replicas have all of them.",
            buckets=_SECONDS,
            registry=registry,
        )


class RequestSeries:
    """How many requests there are, and how long they take."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "marquee_http_requests_total",
            "Requests by route template.",
            ("method", "route", "status"),
            registry=registry,
        )
        self.latency = Histogram(
            "marquee_http_request_seconds",
            "Time to the end of the answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "marquee_http_requests_in_flight",
            "Requests being answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        # Looking a series up by its labels costs more than counting.
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._timers: dict[str, Histogram] = {}

    def answered(self, method: str, route: str, status: int, took_s: float) -> None:
        """Count one request by its route's template and its answer."""
        counter = self._counters.get((method, route, status))
        if counter is None:
            counter = self._counters[method, route, status] = self.requests.labels(method, route, str(status))
        counter.inc()
        timer = self._timers.get(route)
        if timer is None:
            timer = self._timers[route] = self.latency.labels(route)
        timer.observe(took_s)

    def unread(self, status: int) -> None:
        """Count a request that was refused before its head was read: nothing else is known of it."""
        self.requests.labels("unknown", "unread", str(status)).inc()


class TextSeries:
    """What can be searched, and how long it takes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.texts = Gauge(
            "marquee_texts",
            "Texts that can be searched.",
            ("where",),
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.newest = Gauge(
            "marquee_texts_newest_embedded_seconds",
            "When the newest text that can be searched was embedded, seconds since 1970.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.encoder = Gauge(
            "marquee_texts_encoder_info",
            "The encoder of the texts: 1 where it is loaded, 0 where it cannot be, or is not used any more.",
            ("encoder",),
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self._encoder: str | None = None
        self.stages = Histogram(
            "marquee_search_stage_seconds",
            "Time of each step of a search in texts.",
            ("stage",),
            buckets=_SECONDS,
            registry=registry,
        )

    def show(self, texts: Texts | None) -> None:
        """Export what can be searched from now on."""
        digest = None if texts is None else texts.digest
        if self._encoder is not None and self._encoder != digest:
            self.encoder.labels(self._encoder).set(0)
        self._encoder = digest
        base, newer = (None, []) if texts is None else (texts.base, texts.newer)
        self.texts.labels("bundle").set(0 if base is None else int(base.alive.sum()))
        self.texts.labels("newer").set(sum(int(segment.alive.sum()) for segment in newer))
        if texts is not None:
            self.encoder.labels(texts.digest).set(texts.encoder is not None)
            self.newest.set(texts.newest_us / 1e6)


class ListSeries:
    """Lists: how they came about, how long each step took, and what was told of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.stages = Histogram(
            "marquee_stage_seconds",
            "Time of each step of a recommendation.",
            ("stage",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.recommendations = Counter(
            "marquee_recommendations_total", "Lists served.", ("degraded", "fallback_reason"), registry=registry
        )
        self.answers = Counter(
            "marquee_answers_total",
            "Lists by how they came about: made, reused from memory, or joined while somebody else's was made.",
            ("outcome",),
            registry=registry,
        )
        self.answers_bytes = Gauge(
            "marquee_answers_bytes",
            "About what lists kept in memory take.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.impressions = Counter(
            "marquee_impressions_total", "Impression events, by outcome.", ("outcome",), registry=registry
        )
        self.records = Counter(
            "marquee_records_total", "Lists that were to be recorded, by outcome.", ("outcome",), registry=registry
        )
        self._step_timers: dict[str, Histogram] = {}

    def served(self, degraded: bool, reason: str | None) -> None:  # noqa: FBT001  # what an answer says
        """Count a list that was served."""
        self.recommendations.labels(str(degraded).lower(), reason or "").inc()

    def show_steps(self, took_s: Mapping[str, float]) -> None:
        """Export what each step of a recommendation took."""
        for step, seconds in took_s.items():
            timer = self._step_timers.get(step)
            if timer is None:
                timer = self._step_timers[step] = self.stages.labels(step)
            timer.observe(seconds)


class LimitSeries:
    """How many requests may be under way, and how many were refused."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.flight_limit = Gauge(
            "marquee_flight_limit",
            "Requests of a kind that may be under way now.",
            ("kind",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.shed = Counter(
            "marquee_requests_shed_total",
            "Requests refused with 503 because too many were under way.",
            ("kind",),
            registry=registry,
        )


class BundleSeries:
    """What is served, and how current it is."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.served = Gauge(
            "marquee_bundle_info",
            "Bundles served: by how many workers, 0 for those of the past.",
            ("version", "digest"),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.trained_until = Gauge(
            "marquee_bundle_trained_until_seconds",
            "End of the training data, seconds since 1970.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.loads = Counter(
            "marquee_bundle_loads_total",
            "Looks at the alias that found something other than the served version.",
            ("outcome",),
            registry=registry,
        )
        self.refreshes = Counter(
            "marquee_live_refreshes_total", "Refreshes of live state.", ("state", "outcome"), registry=registry
        )
        self.statistics_closed_at = Gauge(
            "marquee_statistics_closed_at_seconds",
            "Bucket edge of the item statistics, seconds since 1970.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.statistics_of_other_weights = Gauge(
            "marquee_statistics_of_other_weights",
            "1 while live statistics are computed by other action weights than the bundle's, and so are not used.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.arrivals = Gauge(
            "marquee_arrivals",
            "Items in the served model that came after its bundle was made.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self._shown: tuple[str, str] | None = None

    def show(self, version: str, digest: str, trained_until_us: int) -> None:
        """Export which bundle is served from now on."""
        if self._shown is not None:
            self.served.labels(*self._shown).set(0)
        self._shown = version, digest
        self.served.labels(version, digest).set(1)
        self.trained_until.set(trained_until_us / 1e6)


class Metrics:
    """All series that serving exports; `render` gives their text.

    Parameters
    ----------
    shown
        What gives the series of all workers; None where this process is the only one.
    """

    def __init__(self, shown: CollectorRegistry | None = None) -> None:
        self.registry = registry = CollectorRegistry()
        self._shown = registry if shown is None else shown
        PlatformCollector(registry=self._shown)
        if shown is None:
            ProcessCollector(registry=registry)
        self.http = RequestSeries(registry)
        self.lists = ListSeries(registry)
        self.limits = LimitSeries(registry)
        self.posted = PostedSeries(registry)
        self.audit = Counter(
            "marquee_audit_entries_total",
            "Entries of the audit that had to wait for Postgres, by outcome.",
            ("outcome",),
            registry=registry,
        )
        self.bundle = BundleSeries(registry)
        self.texts = TextSeries(registry)

    @contextmanager
    def search_stage(self, name: str) -> Iterator[None]:
        """Time one step of a search."""
        started = perf_counter()
        try:
            yield
        finally:
            self.texts.stages.labels(name).observe(perf_counter() - started)

    def render(self) -> bytes:
        """Return all series in Prometheus' text format."""
        return generate_latest(self._shown)
