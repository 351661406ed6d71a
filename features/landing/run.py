"""The landing process: reads, lands, publishes, and goes on through outages until it is told to stop."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

import structlog
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from features.contracts.errors import UnavailableError
from features.db.connection import Connection, connect
from features.kafka import Admin, EventProducer, TopicIdentity, open_consumer
from features.landing.dead_letters import publish_dead_letters
from features.landing.protocol import FenceError, Outcome, land
from features.landing.reader import Reader
from features.landing.write import prepare
from features.settings import Settings

log = structlog.get_logger()
T = TypeVar("T")

REPORT_S: Final = 5.0
"""Seconds between two lines on what was landed."""
LONGEST_WAIT_S: Final = 5
"""Longest pause between two attempts at a service that is away: landing goes on within seconds of its return."""


@dataclass(frozen=True, slots=True)
class LandingOptions:
    """How one landing process works; see `Reader` and `open_consumer`."""

    batch_size: int = 5_000
    batch_s: float = 1.0
    slot: str | None = None
    until_caught_up: bool = False


class Landing:
    """One landing process.

    Parameters
    ----------
    settings
        Where Postgres and Kafka are.
    options
        How to work.
    stop
        Set it to let the batch under way finish and leave.
    """

    def __init__(self, settings: Settings, options: LandingOptions, stop: threading.Event) -> None:
        self._settings = settings
        self._options = options
        self._stop = stop
        self._producer = EventProducer(settings)
        self._open: Connection | None = None
        self._unpublished = True
        self._report = _Report()

    def run(self) -> None:
        """Land until told to stop, or until everything is landed if so asked."""
        try:
            identity = self._patiently(self._identify)
            reader = self._patiently(lambda: self._reader(identity))
            try:
                self._loop(identity.cluster_id, reader)
            finally:
                reader.close()
        except UnavailableError as error:
            if not self._stop.is_set():
                raise
            log.warning("stopped while waiting; what was not landed will be read again", reason=str(error))
        finally:
            self._disconnect()
            self._producer.close(timeout_s=2)
            self._report.write(final=True)

    def _loop(self, cluster_id: str, reader: Reader) -> None:
        while not self._stop.is_set():
            spans = self._patiently(lambda: reader.read(self._connection))
            if spans:
                try:
                    outcome = self._patiently(
                        lambda: land(self._connection(), cluster_id, spans, datetime.now(UTC))  # noqa: B023  # called before the next turn
                    )
                except FenceError as error:
                    log.warning("another process landed this", reason=str(error))
                    self._patiently(lambda: reader.place(self._connection()))
                    continue
                reader.landed(spans)
                self._report.add(outcome)
                self._unpublished = self._unpublished or outcome.dead > 0
            self._publish()
            self._report.write()
            if not spans and self._options.until_caught_up and self._patiently(reader.lag) == 0:
                return

    def _publish(self) -> None:
        """Publish dead letters if some may be waiting; landing goes on when that fails, and it is tried again."""
        if not self._unpublished:
            return
        try:
            while publish_dead_letters(self._connection(), self._producer):
                pass
        except UnavailableError as error:
            log.warning("dead letters stay unpublished for now", reason=str(error))
        else:
            self._unpublished = False

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Return what an attempt gives, repeated while a service is away, until told to stop."""
        retrying = Retrying(
            retry=retry_if_exception_type(UnavailableError),
            wait=wait_random_exponential(multiplier=0.2, max=LONGEST_WAIT_S),
            stop=stop_when_event_set(self._stop),
            sleep=sleep_using_event(self._stop),
            before_sleep=self._before_retry,
            reraise=True,
        )
        return retrying(attempt)

    def _before_retry(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning("waiting for a service", attempt=state.attempt_number, reason=str(error))
        self._disconnect()

    def _identify(self) -> TopicIdentity:
        with Admin(self._settings) as admin:
            return admin.identify()

    def _reader(self, identity: TopicIdentity) -> Reader:
        consumer = open_consumer(self._settings, slot=self._options.slot)
        return Reader(consumer, identity, batch_size=self._options.batch_size, batch_s=self._options.batch_s)

    def _connection(self) -> Connection:
        if self._open is None:
            self._open = connect(self._settings, name="landing")
            prepare(self._open)
        return self._open

    def _disconnect(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


class _Report:
    """Counts since the start, and a log line from time to time."""

    def __init__(self) -> None:
        self._total = Outcome(0, 0, 0, 0)
        self._written = self._total
        self._written_s = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        """Count one batch."""
        self._total += outcome

    def write(self, *, final: bool = False) -> None:
        """Write a line if something happened and it is time, or at the end."""
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
                per_s=round(new / elapsed_s) if elapsed_s else 0,
            )
            self._written, self._written_s = self._total, now_s
