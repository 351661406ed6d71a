"""The data doctor: named checks of what has landed, before training goes by it."""

import time
from dataclasses import replace
from datetime import datetime
from typing import Literal

import msgspec

from features.admin.doctor_checks import CHECKS, Check, Found, Sample
from features.admin.doctor_config import CheckConfig, DoctorConfig
from features.contracts.errors import UnavailableError
from features.contracts.found_weights import DataShape, weights_for
from features.contracts.weights_file import SaidWeights
from features.db.connection import Connection, database_errors
from features.db.queries import queries

Outcome = Literal["ok", "warn", "block", "unfinished"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check came to.

    Attributes
    ----------
    name, purpose
        Which check.
    outcome
        `ok`; `warn` or `block`, as configured, if it failed; `unfinished` if it took too long.
    count, of
        How many are odd, of how many that were looked at.
    threshold
        It fails above this.
    told
        What was found, in words.
    examples
        At most ten.
    next_step
        What to do about it; empty where nothing is to be done.
    took_ms
        Wall-clock milliseconds.
    """

    name: str
    purpose: str
    outcome: Outcome
    count: int
    of: int
    threshold: float
    told: str
    examples: list[str]
    next_step: str
    took_ms: int


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What all checks came to.

    Attributes
    ----------
    blocked
        Whether training must not go by this data.
    rows
        About how many interactions there are.
    sampled
        How many were looked at: whole pages of the table, the same ones each time.
    percent
        Their share of the table's pages; numbers are of the sample where they do not say `about`.
    findings
        One a check.
    """

    blocked: bool
    rows: int
    sampled: int
    percent: float
    findings: list[Finding]


def diagnose(connection: Connection, config: DoctorConfig, said: SaidWeights, now: datetime) -> Diagnosis:
    """Return what the checks came to.

    Parameters
    ----------
    connection
        In no transaction.
    config
        Severities, thresholds and bounds.
    said
        What the file of action weights says: training goes by it, too.
    now
        Aware UTC.

    Raises
    ------
    UnavailableError
        If Postgres is away.
    """
    with database_errors("looking at the data"), connection.transaction():
        queries.one_snapshot(connection)
        estimate = queries.estimated_rows(connection)
        percent = 100.0 if estimate <= config.sample_rows else max(0.001, 100 * config.sample_rows / estimate)
        sampled = queries.sampled_rows(connection, percent=percent)
        queries.limit_statements(connection, milliseconds=int(config.check_seconds * 1_000))
        sample = Sample(connection, percent, sampled, now, weights_for(DataShape(), said).actions, threshold=0)
        findings = [_finding(check, config.checks[check.name], sample) for check in CHECKS]
    return Diagnosis(
        blocked=any(finding.outcome == "block" for finding in findings),
        rows=sampled if percent == 100.0 else estimate,
        sampled=sampled,
        percent=percent,
        findings=findings,
    )


def _finding(check: Check, config: CheckConfig, sample: Sample) -> Finding:
    started_s = time.monotonic()
    found, outcome = _run(check, config, sample)
    return Finding(
        name=check.name,
        purpose=check.purpose,
        outcome=outcome,
        count=found.count,
        of=found.of,
        threshold=config.threshold,
        told=found.told,
        examples=list(found.examples),
        next_step="" if outcome == "ok" else check.next_step,
        took_ms=round((time.monotonic() - started_s) * 1_000),
    )


def _run(check: Check, config: CheckConfig, sample: Sample) -> tuple[Found, Outcome]:
    """Return what a check found and what that means; one that takes too long says so, and the others go on."""
    judged = replace(sample, threshold=config.threshold)
    try:
        with database_errors(check.name), sample.connection.transaction():
            found = check.run(judged)
    except UnavailableError as error:
        if sample.connection.broken:
            raise
        return Found(failed=False, count=0, of=0, told=str(error)), "unfinished"
    return found, config.severity if found.failed else "ok"
