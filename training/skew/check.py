"""One check of the serving path: recorded lists of the version that serves, made again, and held against training."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import structlog

from features.build.known_log import write_known_log
from features.contracts.errors import ContractError
from features.db.connection import Connection, connect
from features.served import statistics_at
from features.served_sample import Sample, draw_sample
from features.settings import Settings
from training.bundle.bundle import Bundle
from training.bundle.read import open_bundle
from training.bundle.registry import Registry
from training.bundle.versions import RegisteredVersion
from training.skew.log import IN_FLIGHT_US, KnownLog
from training.skew.remake import GONE, Outcome, remake
from training.skew.result import Result, result_of
from training.skew.rules import DriftRules

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a check looks at: lists served in the hours before `now`, at most `limit` of them."""

    now: datetime
    hours: float
    limit: int

    @property
    def since(self) -> datetime:
        """Return since when lists count."""
        return self.now - timedelta(hours=self.hours)


def check(settings: Settings, registry: Registry, version: RegisteredVersion, asked: Asked) -> Result:
    """Return what the recorded lists of a version come to.

    Raises
    ------
    UnavailableError
        If Postgres or MLflow is away.
    ContractError
        If the version has no digest, or its bundle is not the one of that digest or not of this code.
    """
    if version.digest is None:
        raise ContractError(f"version {version.version} has no tag `digest`, so its files cannot be verified")
    rules = DriftRules()
    with (
        _opened(settings, registry, version.version, version.digest) as bundle,
        connect(settings, name="skew", autocommit=True, statement_timeout_s=1_800) as connection,
    ):
        # The lists first: all that they were made from has landed then.
        sample = draw_sample(connection, bundle.digest, asked.since, asked.limit)
        log.info("lists drawn", recorded=sample.recorded, ranked=sample.ranked, taken=len(sample.lists))
        outcomes = _outcomes(connection, bundle, sample)
        return result_of(
            bundle, version.version, sample, outcomes, since=asked.since, checked_at=asked.now, rules=rules
        )


def _outcomes(connection: Connection, bundle: Bundle, sample: Sample) -> list[Outcome]:
    if not sample.lists:
        return []
    newest_us = max(served.origin.as_of_us for served in sample.lists if served.origin is not None)
    with tempfile.TemporaryDirectory(prefix="marquee-skew-") as folder:
        file = Path(folder) / "log.parquet"
        rows = write_known_log(connection, file, newest_us + IN_FLIGHT_US)
        log.info("interactions read", rows=rows)
        if not rows:
            return [Outcome(served, None, frozenset({GONE})) for served in sample.lists]
        known = KnownLog.read(file, bundle.parts.weights)
        stored = partial(statistics_at, connection) if sample.rows_gone else None
        return list(remake(bundle, known, sample.lists, stored))


@contextmanager
def _opened(settings: Settings, registry: Registry, version: str, digest: str) -> Iterator[Bundle]:
    """Yield the verified bundle of a digest: of a server's cache on this machine, else downloaded for a while."""
    kept = settings.cache_dir / digest
    if kept.is_dir():
        yield open_bundle(kept, digest)
        return
    with tempfile.TemporaryDirectory(prefix="marquee-skew-") as folder:
        yield open_bundle(registry.download(version, Path(folder)), digest)
