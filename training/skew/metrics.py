"""The finding as Prometheus metrics: for node_exporter's textfile collector."""

from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from training.skew.result import Result

PREFIX: Final = "marquee_skew_"
STATUSES: Final = ("ok", "skewed", "drifted", "unknown")


def metrics_of(result: Result) -> CollectorRegistry:
    """Return the finding as gauges in a registry of their own."""
    registry = CollectorRegistry()
    parity, drift = result.parity, result.drift
    plain = {
        "lists": ("Recorded lists that were compared with the training path.", parity.lists),
        "lists_different": ("Lists whose candidates or feature rows are not the same.", parity.different),
        "rows": ("Feature rows compared.", parity.rows),
        "rows_different": ("Feature rows with a value that is not the same.", parity.different_rows),
        "candidates_missing": ("Candidates that were served and are not made again.", parity.missing),
        "candidates_added": ("Candidates that are made again and were not served.", parity.added),
        "timestamp_seconds": ("When the check was made.", result.checked_at.timestamp()),
    }
    for name, (purpose, value) in plain.items():
        Gauge(f"{PREFIX}{name}", purpose, registry=registry).set(value)
    left_out = Gauge(f"{PREFIX}lists_left_out", "Lists that cannot be made again.", ["reason"], registry=registry)
    for reason, count in parity.left_out.items():
        left_out.labels(reason).set(count)
    different = Gauge(
        f"{PREFIX}feature_different", "Values of a feature that are not the same.", ["feature"], registry=registry
    )
    for feature in parity.features:
        different.labels(feature.name).set(feature.different)
    psi = Gauge(f"{PREFIX}psi", "Population stability index against training rows.", ["column"], registry=registry)
    for shift in drift.shifts:
        psi.labels(shift.name).set(shift.psi)
    status = Gauge(f"{PREFIX}status", "1 for the finding, 0 for the others.", ["status"], registry=registry)
    for name in STATUSES:
        status.labels(name).set(name == result.status)
    return registry
