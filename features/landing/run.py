"""The landing process: lands what is read ahead, publishes, and goes on through outages until it is told to stop."""

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass

import structlog

from features.contracts.errors import UnavailableError
from features.contracts.mappings import load_mappings
from features.failpoints import failpoint
from features.kafka import EventProducer, landed_topics, open_consumer
from features.kafka_admin import Admin
from features.landing.ahead import ReadAhead
from features.landing.dead_letters import UnpublishedError, publish_dead_letters
from features.landing.protocol import Batch, FenceError, Lander
from features.landing.reader import Reader, leave
from features.landing.sessions import Session
from features.landing.telemetry import Telemetry
from features.patience import Patience
from features.settings import Settings

log = structlog.get_logger()

IDLE_S = 0.5
"""How long to wait for a batch before looking at anything else."""
PUBLISH_AGAIN_S = 5.0
"""Seconds after which dead letters that could not be published are tried again: good events do not wait for them."""
PUBLISH_FOR_S = 3.0
"""Seconds after which a failure to publish ends the attempt: topics that were not tried yet come first in the next."""
LOOK_AGAIN_S = 60.0
"""Seconds between two looks for dead letters of which nobody told: left by another process, or by a commit whose answer
was lost."""


@dataclass(frozen=True, slots=True)
class LandingOptions:
    """How one landing process works.

    Attributes
    ----------
    batch_size
        Messages of a batch at most; fewer where the last one is written before so many came.
    slot
        See `open_consumer`.
    until_caught_up
        Whether to end once everything is landed.
    metrics_host, metrics_port
        Where Prometheus finds the process' series; port 0 for nowhere.
    """

    batch_size: int = 10_000
    slot: str | None = None
    until_caught_up: bool = False
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0


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
        self._patience = Patience(stop)
        self._producer = EventProducer(settings)
        self._session = Session(settings, "landing")
        self._lander = Lander(settings.erasure_secret.get_secret_value().encode())
        self._unpublished = True
        self._publish_after_s = self._look_after_s = 0.0
        self._passed_over: set[str] = set()
        self._telemetry = Telemetry(options.metrics_host, options.metrics_port)
        decoders = {topic: mapping.decode for topic, mapping in load_mappings(settings.mappings).items()}
        self._ahead = ReadAhead(
            self._open_reader,
            Session(settings, "landing-offsets"),
            decoders,
            self._patience,
            until_caught_up=options.until_caught_up,
        )

    def run(self) -> None:
        """Land until told to stop, or until everything is landed if so asked.

        Raises
        ------
        HaltedError
            If everything was to be landed and a partition is stopped.
        """
        self._ahead.start()
        try:
            while not self._stop.is_set() and not self._ahead.ended:
                self._step()
        except UnavailableError as error:
            if not self._stop.is_set():
                raise
            log.warning("stopped while waiting; what was not landed will be read again", reason=str(error))
        finally:
            self._stop.set()
            self._ahead.join(timeout_s=5)
            self._session.close()
            self._producer.close(timeout_s=2)
            self._telemetry.write(final=True)

    def _step(self) -> None:
        batch = self._ahead.take(IDLE_S)
        if batch is not None:
            self._land(batch)
        self._publish()
        self._telemetry.write(halted=self._ahead.halted)

    def _land(self, batch: Batch) -> None:
        landed = False
        try:
            with self._telemetry.timed():
                outcome = self._patience.until_done(
                    lambda: self._lander.land(self._session.connection(), self._ahead.cluster_id, batch),
                    on_failure=self._session.close,
                )
            landed = True
        except FenceError as error:
            log.warning("another process landed this", reason=str(error))
            self._telemetry.fenced()
        finally:
            self._ahead.done(batch.spans if landed else ())
        if landed:
            self._telemetry.add(outcome)
            self._unpublished = self._unpublished or outcome.dead > 0

    def _publish(self) -> None:
        """Publish dead letters if some may be waiting; landing goes on when that fails, and it is tried again."""
        if time.monotonic() < (self._publish_after_s if self._unpublished else self._look_after_s):
            return
        try:
            self._unpublished = self._publish_by_topic()
        except UnavailableError as error:
            log.warning("dead letters stay unpublished for now", reason=str(error))
            self._unpublished = True
            self._session.close()
        ended_s = time.monotonic()
        self._look_after_s = ended_s + LOOK_AGAIN_S
        if self._unpublished:
            self._publish_after_s = ended_s + PUBLISH_AGAIN_S

    def _publish_by_topic(self) -> bool:
        """Return whether dead letters are left, after publishing those of the topics that take them."""
        give_up_s = time.monotonic() + PUBLISH_FOR_S
        while True:
            try:
                if not publish_dead_letters(self._session.connection(), self._producer, self._passed_over):
                    left, self._passed_over = bool(self._passed_over), set()
                    return left
                failpoint("after_publish")
            except UnpublishedError as error:
                log.warning("dead letters of a topic stay unpublished for now", reason=str(error))
                self._passed_over.add(error.topic)
                if time.monotonic() > give_up_s:
                    return True

    def _open_reader(self) -> Reader:
        topics, slot = landed_topics(self._settings), self._options.slot
        with ExitStack() as opened:
            admin = opened.enter_context(Admin(self._settings))
            consumer = open_consumer(self._settings, slot=slot)
            opened.callback(leave, consumer)
            reader = Reader(consumer, admin, topics, batch_size=self._options.batch_size, slot=slot)
            opened.pop_all()  # from here on the reader closes both
            return reader
